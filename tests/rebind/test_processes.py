"""Threads, fork and vfork; the library under sanitizers and valgrind."""

from __future__ import annotations

import shutil

from tests.rebind.wrapped import ProgramTestCase


class ProcessTests(ProgramTestCase):
    def settings(self) -> dict[str, str]:
        """Variables that move the port, and somewhere to report it."""
        return {"REBIND_OLD_PORT": str(self.old), "REBIND_NOTIFY": self.reports().name}

    def test_threads(self) -> None:
        """Threads that bind at once, and children forked meanwhile, see their port; bind cancels none."""
        output = self.execute(self.program("threads"), str(self.old), **self.settings())
        self.assertEqual(output, "0 wrong\n")

    def test_vfork(self) -> None:
        """A child of vfork binds for its parent; another runs a program that is moved and reported."""
        reports = self.reports()
        output = self.execute(
            self.program("vforks"), str(self.old), REBIND_OLD_PORT=str(self.old), REBIND_NOTIFY=reports.name
        )
        self.assertEqual(output, f"child {self.old}\nparent {self.old}\nprogram {self.old}\n")
        events = [(event, pid) for _, event, pid, *_ in reports.received()]
        self.assertEqual([event for event, _ in events], ["bind", "bind", "listen"])
        self.assertNotEqual(events[0][1], events[1][1])

    def test_sanitizers(self) -> None:
        """AddressSanitizer and UndefinedBehaviorSanitizer find nothing in what the programs make it do."""
        preload = self.sanitizedLibrary()
        for name in "passing", "naming", "threads", "vforks":
            program = self.program(name, "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
            self.execute(program, str(self.old), preload=preload, **self.settings())

    def test_valgrind(self) -> None:
        """Nor does valgrind, in all but the calls that are wrong on purpose."""
        valgrind = shutil.which("valgrind")
        if valgrind is None:
            self.missing("valgrind is needed")
        command = (
            valgrind,
            "--quiet",
            "--error-exitcode=99",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite",
            "--show-leak-kinds=definite",
        )
        for name in "naming", "threads", "vforks":
            self.execute(*command, self.program(name), str(self.old), **self.settings())
