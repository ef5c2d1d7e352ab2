"""The command C{rebind OLD NEW PROGRAM ARGS…}."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.rebind.wrapped import PRELUDE, SECONDS, SOURCE, ProgramTestCase


class CommandTests(ProgramTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.command = str(SOURCE / "rebind")

    def complain(self, *command: str, preload: str = "", **variables: str) -> tuple[int, str]:
        """Run a command that fails; returns its exit status and stderr."""
        done = subprocess.run(
            command,
            check=False,
            env=self.environment(preload=preload, **variables),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        self.assertEqual(done.stdout, "")
        return done.returncode, done.stderr

    def test_moves(self) -> None:
        """The program runs with its arguments as they are, and its port is moved."""
        script = PRELUDE + "s = tcp(); s.bind(('', OLD)); s.listen(); answer([truth(s), sys.argv[2:]])"
        odd = ["", "a b", "*", "$HOME", "--", "x\ny"]
        program = (sys.executable, "-S", "-c", script, str(self.old), *odd)
        output = self.execute(self.command, str(self.old), str(self.new), *program, preload="")
        self.assertEqual(output, f'[["127.0.0.1", {self.new}], ["", "a b", "*", "$HOME", "--", "x\\ny"]]\n')

    def test_symbolicLink(self) -> None:
        """It finds its library through a symbolic link and through PATH."""
        directory = self.temporaryDirectory()
        os.symlink(self.command, f"{directory}/link")
        show = ("sh", "-c", "echo $LD_PRELOAD")
        path = f"{directory}:{os.environ['PATH']}"
        self.assertEqual(self.execute("link", "1", "2", *show, preload="", PATH=path), f"{self.library}\n")

    def test_preload(self) -> None:
        """A library that is preloaded already stays in front."""
        directory = self.temporaryDirectory()
        other = shutil.copy(self.library, f"{directory}/other.so")
        output = self.execute(self.command, "1", "2", "sh", "-c", "echo $LD_PRELOAD", preload=other)
        self.assertEqual(output, f"{other}:{self.library}\n")

    def test_environment(self) -> None:
        """Settings of an outer rebind are replaced; its socket for reports is kept."""
        show = "echo $REBIND_OLD_PORT $REBIND_NEW_PORT $REBIND_NOTIFY"
        outer = {"REBIND_OLD_PORT": "7", "REBIND_NEW_PORT": "8", "REBIND_NOTIFY": "@outer"}
        output = self.execute(self.command, "80", "0", "sh", "-c", show, preload="", **outer)
        self.assertEqual(output, "80 0 @outer\n")

    def test_badArguments(self) -> None:
        """A mistake in the arguments is one line on stderr and exit status 2."""
        usage = "usage: rebind OLD NEW PROGRAM [ARGS...]"
        for arguments in [], ["80"], ["80", "81"]:
            self.assertEqual(self.complain(self.command, *arguments), (2, f"rebind: {usage}\n"), arguments)
        for port in "", "-1", "65536", "99999999999999999999", "x", "80x", " 80", "80 ", "+80", "0x50", "*":
            self.assertEqual(
                self.complain(self.command, port, "0", "true"),
                (2, f"rebind: OLD is a port from 1 to 65535, not '{port}'\n"),
            )
            self.assertEqual(
                self.complain(self.command, "80", port, "true"),
                (2, f"rebind: NEW is a port from 0 to 65535, not '{port}'\n"),
            )
        self.assertEqual(
            self.complain(self.command, "0", "0", "true"),
            (2, "rebind: OLD is a port from 1 to 65535, not '0'\n"),
        )

    def test_status(self) -> None:
        """The exit status is the program's; 127 where there is no such program, 126 where it is not one."""
        self.assertEqual(self.complain(self.command, "1", "2", "sh", "-c", "exit 42"), (42, ""))
        self.assertEqual(self.complain(self.command, "1", "2", "sh", "-c", "kill -TERM $$"), (-15, ""))
        for program, expected in ("no-such-program", 127), ("/", 126), (f"{SOURCE}/rebind.c", 126):
            status, complaint = self.complain(self.command, "1", "2", program)
            self.assertEqual(status, expected)
            self.assertIn(program, complaint)
            self.assertEqual(complaint.count("\n"), 1)

    def test_noLibrary(self) -> None:
        """Without its library beside it, or where the linker could not load it, it says so in one line."""
        directory = self.temporaryDirectory()
        alone = shutil.copy(self.command, directory)
        self.assertEqual(
            self.complain(alone, "1", "2", "true"),
            (2, f"rebind: {directory}/rebind.so is missing; 'make -C {directory}' builds it\n"),
        )
        os.mkdir(f"{directory}/a b")
        spaced = shutil.copy(self.command, f"{directory}/a b")
        shutil.copy(self.library, f"{directory}/a b")
        status, complaint = self.complain(spaced, "1", "2", "true")
        self.assertEqual((status, complaint.count("\n")), (2, 1))
        self.assertIn("no colon or space", complaint)
