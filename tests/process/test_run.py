"""One run of a real program: its session, its output, its status, and the end of all that it started."""

from __future__ import annotations

import os
import signal
import sys
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.components import require
from tests.process.programs import python, running, state, until
from wsproxy.process import run as module
from wsproxy.process.command import Command
from wsproxy.process.group import descendants, descends
from wsproxy.process.run import Run

CHILD = """
import os, signal, sys, time
if os.fork() == 0:
    signal.signal(signal.SIGTERM, getattr(signal, sys.argv[1]))
    if sys.argv[2] == "outside":
        os.setsid()
    print("child", os.getpid(), flush=True)
    time.sleep(60)
if sys.argv[3] == "leave":
    time.sleep(0.3)
    sys.exit(0)
print("parent", os.getpid(), flush=True)
time.sleep(60)
"""


class RunTestCase(TestCase):
    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.lines: list[str] = []
        self.run_ = Run(reactor, self.lines.append)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.run_.end()))

    async def status(self, command: Command) -> int:
        self.run_.start(command)
        status: int = await self.run_.exited
        return status

    async def printed(self, beginning: str) -> list[str]:
        """The words of the first line that begins like this."""
        line: str = await until(lambda: next((line for line in self.lines if line.startswith(beginning)), None))
        return line.split()

    async def pid(self, who: str) -> int:
        return int((await self.printed(who))[1])


class ProgramTests(RunTestCase):
    """What the program is given, and what it answers."""

    async def test_statuses(self) -> None:
        """The status is the program's own; 128 and the number where a signal ended it."""
        self.assertEqual(await self.status(python("import sys; sys.exit(7)")), 7)

    async def test_signal(self) -> None:
        """A program that was killed."""
        self.assertEqual(await self.status(python("import os; os.kill(os.getpid(), 9)")), 137)

    async def test_noProgram(self) -> None:
        """A program that has gone since it was found is 127, with a line that says so."""
        self.assertEqual(await self.status(Command("/no/such", ("prog", "x"), {})), 127)
        self.assertEqual(await until(lambda: self.lines), ["prog: No such file or directory"])

    async def test_noProgramAnyMore(self) -> None:
        """One that is no program after all is 126."""
        self.assertEqual(await self.status(Command("/etc", ("prog",), {})), 126)
        self.assertEqual(await until(lambda: self.lines), ["prog: /etc: Permission denied"])

    async def test_surroundings(self) -> None:
        """It leads a session and a group without a terminal, reads nothing, and has no descriptors of ours."""
        script = """
import os, sys
print("ids", os.getpid() == os.getsid(0) == os.getpgid(0), repr(sys.stdin.read()), sorted(os.listdir("/proc/self/fd")))
"""
        await self.status(python(script))
        # the directory that is being listed has a descriptor, too
        self.assertEqual(await self.printed("ids"), ["ids", "True", "''", "['0',", "'1',", "'2',", "'3']"])

    async def test_environment(self) -> None:
        """Its environment is exactly what was asked for, whatever Python's start added to the launcher's."""
        await self.status(Command("/usr/bin/env", ("env",), {"X": "1", "Y": "ü"}))
        await until(lambda: len(self.lines) == 2)
        self.assertEqual(sorted(self.lines), ["X=1", "Y=ü"])

    async def test_arguments(self) -> None:
        """So are its name and its arguments, and it does not ignore what Python ignores."""
        script = 'echo "$0:$*"; grep SigIgn /proc/self/status'
        await self.status(Command("/bin/sh", ("name", "-c", script, "zero", "a b", "ü"), {"PATH": "/bin:/usr/bin"}))
        self.assertEqual(await self.printed("zero:"), ["zero:a", "b", "ü"])
        (ignored,) = await self.printed("SigIgn")
        python = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
        self.assertEqual(int(ignored.removeprefix("SigIgn:\\t"), 16) & python, 0)

    async def test_output(self) -> None:
        """Both streams are logged, and so is a last line without an end."""
        await self.status(python("import sys; print('out'); sys.stderr.write('err')"))
        await until(lambda: len(self.lines) == 2)
        self.assertEqual(sorted(self.lines), ["err", "out"])


WAIT = "import signal; signal.pause()"


class EndTests(RunTestCase):
    """The end of a whole process group."""

    async def test_children(self) -> None:
        """Children that only know TERM end with their parent, and no zombie of ours is left."""
        self.run_.start(python(CHILD, "SIG_DFL", "inside", "stay"))
        child, parent = await self.pid("child"), await self.pid("parent")
        await self.run_.end()
        self.assertFalse(running(child))
        self.assertIsNone(state(parent))

    async def test_leaderLeft(self) -> None:
        """Children whose parent has left are still ended."""
        await self.status(python(CHILD, "SIG_DFL", "inside", "leave"))
        child = await self.pid("child")
        self.assertTrue(running(child))
        await self.run_.end()
        self.assertFalse(running(child))

    async def test_stubborn(self) -> None:
        """What ignores TERM is killed, when its time is up."""
        with mock.patch.object(module, "KILL_AFTER", 0.1):
            self.run_.start(python(CHILD, "SIG_IGN", "inside", "leave"))
        child = await self.pid("child")
        await self.run_.end()
        self.assertFalse(running(child))

    async def test_outsider(self) -> None:
        """What has left the group goes on."""
        self.run_.start(python(CHILD, "SIG_DFL", "outside", "stay"))
        child = await self.pid("child")
        self.addCleanup(os.kill, child, signal.SIGKILL)
        await self.run_.end()
        self.assertTrue(running(child))

    async def test_atOnce(self) -> None:
        """A program can be ended before it has begun."""
        self.run_.start(python(WAIT))
        await self.run_.end()
        self.assertIsNone(self.run_.launcher)
        self.assertIsNone(state(self.run_.pid))

    async def test_adopted(self) -> None:
        """A child that has lost its parents is still known as one of the program's; a stranger is none."""
        await self.status(python(CHILD, "SIG_DFL", "outside", "leave"))
        child = await self.pid("child")
        launcher = self.run_.launcher
        assert launcher is not None
        self.assertTrue(descends(child, launcher))
        self.assertEqual([process.pid for process in descendants(launcher)], [child])
        self.assertFalse(descends(os.getpid(), launcher))
        os.kill(child, signal.SIGKILL)
        await until(lambda: self.run_.launcher is None)
        self.assertFalse(descends(child, launcher))

    async def test_launcherLeaves(self) -> None:
        """Nothing waits for a program that is no more, nor for its children."""
        await self.status(python(""))
        await until(lambda: self.run_.launcher is None)

    async def test_launcherKilled(self) -> None:
        """Should the launcher be killed, so is the program, and its status says so."""
        self.run_.start(python(CHILD, "SIG_DFL", "inside", "stay"))
        child, parent = await self.pid("child"), await self.pid("parent")
        assert self.run_.launcher is not None
        os.kill(self.run_.launcher, signal.SIGKILL)
        self.assertEqual(await self.run_.exited, 137)
        await until(lambda: not running(child) and not running(parent))


class KilledProxyTests(RunTestCase):
    """Whoever started a program may be killed."""

    async def killed(self, *arguments: str) -> tuple[int, int]:
        """Kill who started the program. @return: a child and its parent, the program."""
        program = python(CHILD, *arguments)
        launch = [sys.executable, "-I", "-S", module._LAUNCHER, "0.3", program.path, *program.words]
        starter = f"""
import fcntl, os, signal, subprocess
lifeLine, ours = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in os.pipe())
os.dup2(lifeLine, 3)
os.dup2(os.open({os.devnull!r}, os.O_WRONLY), 4)
subprocess.Popen({launch!r}, pass_fds=(3, 4))
signal.pause()
"""
        self.run_.start(python(starter))
        child = await self.pid("child")
        parent = os.getpid() if arguments[2] == "leave" else await self.pid("parent")
        os.kill(self.run_.pid, signal.SIGKILL)
        return child, parent

    async def test_group(self) -> None:
        """The program and its children are ended, whatever they do with TERM."""
        child, parent = await self.killed("SIG_IGN", "inside", "stay")
        await until(lambda: not running(child) and not running(parent))

    async def test_otherUser(self) -> None:
        """So is a program that has become another user: the kernel's own signal for this does not reach it."""
        require("the right to become another user", lambda: os.geteuid() == 0)
        script = f"import os\nos.setuid(65534)\nprint('child', os.getpid(), flush=True)\n{WAIT}"
        self.patch(sys.modules[__name__], "CHILD", script)
        child, _ = await self.killed("SIG_DFL", "inside", "leave")
        await until(lambda: not running(child))


class NothingLeftTests(RunTestCase):
    async def test_nothingLeft(self) -> None:
        """Run after run leaves no descriptor and no process behind."""
        from twisted.internet import reactor

        descriptors = []
        for _ in range(20):
            run = Run(reactor, self.lines.append)
            run.start(python(WAIT))
            await run.end()
            self.assertIsNone(run.launcher)
            self.assertIsNone(state(run.pid))
            descriptors.append(len(os.listdir("/proc/self/fd")))
        self.assertEqual(set(descriptors), {descriptors[0]})

    def test_interpreter(self) -> None:
        """The launcher needs nothing but its file and an interpreter."""
        self.assertTrue(os.path.isfile(module._LAUNCHER))
        self.assertTrue(os.path.isfile(sys.executable))
