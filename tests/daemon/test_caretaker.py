"""What holds the place of new code: that it runs it as Python itself would, and what it says where it cannot."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.daemon import caretaker
from wsproxy.daemon.handover import COULD_START
from wsproxy.daemon.log import Log
from wsproxy.daemon.successor import Successor, commandLine, divided

SAYS = "import json, sys; print(json.dumps([__name__, sys.argv, sys.path, sys.orig_argv[1:]]))"


class DividedTests(SynchronousTestCase):
    def test_words(self) -> None:
        """Python's own options, with their values, come before a script, a module or code; all else is its own."""
        for options, program in (
            ([], ["/bin/twistd", "-n", "websockify"]),
            (["-I", "-W", "error", "-Xdev"], ["/bin/twistd", "-W", "x"]),
            (["-BW", "ignore"], ["-m", "wsproxy", "-c"]),
            (["-X", "importtime", "--check-hash-based-pycs", "never"], ["x.py"]),
            (["-u"], ["-c", "print()", "-m"]),
        ):
            self.assertEqual(divided(["python", *options, *program]), (["python", *options], program))
        self.assertEqual(divided(["python", "-um", "x", "y"]), (["python", "-u"], ["-m", "x", "y"]))
        self.assertEqual(divided(["python", "-mx", "y"]), (["python"], ["-m", "x", "y"]))
        self.assertEqual(divided(["python"]), (["python"], []))

    def test_commandLine(self) -> None:
        """What this process was executed with can be executed once more."""
        self.assertEqual(commandLine(), [sys.executable, *sys.orig_argv[1:]])


class StatusTests(SynchronousTestCase):
    def test_same(self) -> None:
        """What a rehearsal says that went well is understood by the caretaker as well, which imports nothing."""
        self.assertEqual(caretaker._COULD_START, COULD_START)


class RunTests(SynchronousTestCase):
    """A program, in a process of its own, directly and by the caretaker."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        (self.folder / "there").mkdir(parents=True)
        (self.folder / "here").mkdir()
        (self.folder / "there/says.py").write_text(SAYS)
        (self.folder / "here/says.py").symlink_to(self.folder / "there/says.py")

    def output(self, words: list[str], descriptors: tuple[int, ...] = (), **environment: str) -> Any:
        """What it says of itself."""
        done = subprocess.run(
            words,
            env={**os.environ, **environment},
            cwd=self.folder / "there",
            pass_fds=descriptors,
            capture_output=True,
            check=True,
        )
        return json.loads(done.stdout)

    def test_same(self) -> None:
        """A script, by a link of another folder too, a module and code see what they would see."""
        for given in (
            ["says.py", "-x", "y"],
            ["-B", str(self.folder / "here/says.py"), "z"],
            ["-m", "says", "-m", "x"],
            ["-c", SAYS, "-c"],
            ["-P", "says.py"],
            ["-I", "-c", SAYS],
        ):
            words = [sys.executable, *given]
            heir = Successor(words, os.environ, str(self.folder), {}, Log())
            code = heir._leaveCode()
            left = heir._leave(True, {}, code)
            try:
                indirect = self.output(heir._words(code), (code, left), WSPROXY_HANDOVER=str(left))
            finally:
                os.close(code)
                os.close(left)
            self.assertEqual(indirect, self.output(words), words)

    def test_strangers(self) -> None:
        """What lies about in the folder of the start is not taken for a module of Python's."""
        (self.folder / "there/json.py").write_text("raise SystemExit('a stranger')")
        code = 'import sys; print("[]")'
        heir = Successor([sys.executable, "-c", code], os.environ, str(self.folder), {}, Log())
        descriptors = (heir._leaveCode(),)
        descriptors += (heir._leave(True, {}, descriptors[0]),)
        try:
            words = heir._words(descriptors[0])
            self.assertEqual(self.output(words, descriptors, WSPROXY_HANDOVER=str(descriptors[1])), [])
        finally:
            for each in descriptors:
                os.close(each)

    def test_alone(self) -> None:
        """It imports nothing that is not Python's own: what is installed may be broken."""
        tree = ast.parse(Path(caretaker.__file__).read_text())
        names = {
            name.partition(".")[0]
            for node in ast.walk(tree)
            for name in (
                [each.name for each in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            )
        }
        self.assertLessEqual(names, sys.stdlib_module_names)


class SaidTests(SynchronousTestCase):
    def test_reason(self) -> None:
        """Why new code has not started is one line: what it has said, its status, or what it raised, and where."""

        def fail() -> None:
            raise ValueError("one\ntwo\x1b")

        for call, told in (
            (lambda: sys.exit("--cert x:\nno"), "--cert x: no"),
            (lambda: sys.exit(3), "it has ended with status 3 before it served"),
            (sys.exit, "it has ended with status 0 before it served"),
        ):
            self.assertEqual(self.reason(call), told)
        self.assertRegex(self.reason(fail), r"^ValueError: one two\\x1b \(.*test_caretaker.py:\d+\)$")

    def reason(self, call: Any) -> str:
        try:
            call()
        except BaseException as error:
            return caretaker._inOneLine(error)
        raise AssertionError

    def test_log(self) -> None:
        """It is told where the old code has logged, in the form of that."""
        path = Path(self.mktemp()).absolute()
        caretaker._log({"kind": "file", "path": str(path), "json": False}, "one")
        caretaker._log({"kind": "file", "path": str(path), "json": True}, "two")
        first, second = path.read_text().splitlines()
        self.assertRegex(first, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[wsproxy.daemon.caretaker#error\] one$")
        record = json.loads(second)
        self.assertEqual(
            (record["level"], record["logger"], record["message"]), ("error", "wsproxy.daemon.caretaker", "two")
        )

    def test_unread(self) -> None:
        """Where nobody reads stdout nobody is waited for."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        os.set_blocking(writer, False)
        try:
            while True:
                os.write(writer, bytes(65536))
        except BlockingIOError:
            os.set_blocking(writer, True)
        call = "from wsproxy.daemon.caretaker import _log; _log({'kind': 'stdout', 'json': False}, 'x')"
        with open(writer, "wb") as stdout:
            subprocess.run([sys.executable, "-c", call], stdout=stdout, timeout=60, check=True)
