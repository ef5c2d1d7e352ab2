"""What is run, with which arguments and environment."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.components import require
from wsproxy.errors import ConfigError
from wsproxy.process.command import Command, NoProgram, rebindLibrary


class FindTests(SynchronousTestCase):
    def complaint(self, *words: str) -> str:
        return str(self.assertRaises(ConfigError, Command.find, words, os.environ))

    def test_onPath(self) -> None:
        """A bare name is looked up on the program's PATH, and stays its first word."""
        command = Command.find(["sh", "-c", "true"], {"PATH": "/nonexistent:/bin"})
        self.assertEqual((command.path, command.words), ("/bin/sh", ("sh", "-c", "true")))
        self.assertEqual(command.name, "sh")

    def test_relative(self) -> None:
        """A path is made absolute: a daemon changes its directory."""
        command = Command.find([os.path.relpath("/bin/sh")], os.environ)
        self.assertEqual(command.path, "/bin/sh")

    def test_complaints(self) -> None:
        """A program that is not there, or must not be run, is named."""
        path = self.mktemp()
        Path(path).write_text("")
        self.assertEqual(self.complaint("no-such-program"), "-- no-such-program: no such program")
        self.assertEqual(self.complaint(f"./{path}"), f"-- ./{path}: not executable")

    def test_statuses(self) -> None:
        """Each has the status that a shell leaves with."""
        path = self.mktemp()
        Path(path).write_text("")
        for word, status in ("no-such-program", 127), (f"./{path}", 126), ("./no/such", 127):
            error = self.assertRaises(NoProgram, Command.find, [word], os.environ)
            self.assertEqual(error.status, status)

    def test_forbidden(self) -> None:
        """What another user must not run is named: the program, a directory above it, or another file that it needs."""
        require("the right to become another user", lambda: os.geteuid() == 0)
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        program, library = folder / "program", folder / "library.so"
        for file in program, library:
            file.touch(0o755)
        command = Command(str(program), ("program",), {})
        found = []
        for path, mode in (folder, 0o755), (folder, 0o700), (program, 0o700), (library, 0o700):
            before = path.stat().st_mode
            folder.chmod(0o755)
            path.chmod(mode)
            os.seteuid(65534)
            try:
                found.append(command.forbidden(str(library)))
            finally:
                os.seteuid(0)
            path.chmod(before)
        self.assertEqual(found, [None, str(folder), str(program), str(library)])

    def test_name(self) -> None:
        """The name for the log is one printable word, whatever the program is called."""
        self.assertEqual(Command("/x", ("dir/evil\nname",), {}).name, "evil\\nname")


class MovedTests(SynchronousTestCase):
    def test_variables(self) -> None:
        """rebind's variables are set for the program, and nothing else changes, our own environment least of all."""
        before = dict(os.environ)
        command = Command.find(["sh"], {"PATH": "/bin", "REBIND_NEW_PORT": "7"}).moved("/r.so", 80, 10080, "/n")
        self.assertEqual(
            command.environment,
            {
                "PATH": "/bin",
                "LD_PRELOAD": "/r.so",
                "REBIND_OLD_PORT": "80",
                "REBIND_NEW_PORT": "0",
                "REBIND_TREE_PORT": "10080",
                "REBIND_NOTIFY": "/n",
            },
        )
        self.assertEqual(os.environ, before)

    def test_preloaded(self) -> None:
        """What is preloaded already stays so, and comes first."""
        command = Command.find(["sh"], {"PATH": "/bin", "LD_PRELOAD": "a.so b.so"}).moved("/r.so", None, 10080, "/n")
        self.assertEqual(command.environment["LD_PRELOAD"], "a.so b.so:/r.so")
        self.assertEqual(command.environment["REBIND_OLD_PORT"], "*")


class PlacedTests(SynchronousTestCase):
    def placed(self, *words: str) -> Command:
        command = Command("/x", words, {"A": "b"})
        self.assertTrue(command.hasPlaceholder)
        return command.placed("/run/here")

    def test_port(self) -> None:
        """{port} is a free loopback port, the same in every argument, and none that the kernel gives out."""
        placed = self.placed("x", "--bind=127.0.0.1:{port}", "{port}")
        port = int(placed.words[2])
        self.assertEqual(placed.words, ("x", f"--bind=127.0.0.1:{port}", str(port)))
        self.assertEqual(placed.addresses, (f"127.0.0.1:{port}", f"[::1]:{port}"))
        self.assertEqual(placed.environment, {"A": "b"})
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        self.assertFalse(first <= port <= last)
        with socket.socket() as free:
            free.bind(("127.0.0.1", port))

    def test_socket(self) -> None:
        """{socket} is a path in the directory, and a socket that an earlier start left there is removed."""
        directory = self.mktemp()
        Path(directory).mkdir()
        left = Path(directory) / "socket"
        left.write_text("")
        placed = Command("/x", ("x", "unix:{socket}"), {}).placed(directory)
        self.assertEqual(placed.words, ("x", f"unix:{left}"))
        self.assertEqual(placed.addresses, (f"unix:{left}",))
        self.assertFalse(left.exists())

    def test_otherBraces(self) -> None:
        """Other braces are the program's own."""
        self.assertFalse(Command("/x", ("awk", "{print $1}", "{ports}"), {}).hasPlaceholder)
        self.assertEqual(self.placed("x", "{port}", "{0} {print}").words[2], "{0} {print}")


class LibraryTests(SynchronousTestCase):
    def library(self, *files: str) -> str:
        """What is found where these files of a checkout are there."""
        root = self.mktemp()
        for file in ("wsproxy/process/command.py", *files):
            (Path(root) / file).parent.mkdir(parents=True, exist_ok=True)
            (Path(root) / file).write_text("")
        module = sys.modules[Command.__module__]
        with mock.patch.object(module, "__file__", str(Path(root) / "wsproxy/process/command.py")):
            return rebindLibrary().removeprefix(f"{root}/")

    def test_places(self) -> None:
        """The installed library is preferred to one that was built in a checkout."""
        installed, built = "wsproxy/process/rebind.so", "rebind/rebind.so"
        self.assertEqual(self.library(installed, built), installed)
        self.assertEqual(self.library(built), built)

    def test_missing(self) -> None:
        """Without it there is one line, which says how to build it and what works without."""
        line = str(self.assertRaises(ConfigError, self.library))
        self.assertIn("rebind.so is missing", line)
        self.assertIn("{port}", line)
        self.assertNotIn("\n", line)
