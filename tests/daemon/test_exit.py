"""How the process ends, without ending this one."""

from __future__ import annotations

import atexit
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wsproxy.daemon.exit import BOUND, THREADS, Exit
from wsproxy.daemon.log import Log
from wsproxy.errors import ConfigError
from wsproxy.interfaces import IStatusStop


class Reactor(MemoryReactorClock):
    """Runs what a signal handler asks for when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.stops = 0
        self.queue: list[Callable[[], object]] = []

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        self.queue.append(lambda: function(*arguments))

    def turn(self) -> None:
        while self.queue:
            self.queue.pop(0)()

    def begin(self) -> None:
        """Be running from now on."""
        self.hasRun = True
        for function, arguments, keywords in self.whenRunningHooks:
            function(*arguments, **keywords)

    def stop(self) -> None:
        self.stops += 1


class Proxy:
    """A L{Stoppable} that drains when told to."""

    def __init__(self) -> None:
        self.drained: Deferred[None] = Deferred()
        self.drains = 0
        self.reloads = 0
        self.abandons = 0
        self.numbers: list[int] = []

    def abandon(self, number: int = signal.SIGTERM) -> None:
        self.abandons += 1
        self.numbers.append(number)

    def drain(self) -> Deferred[None]:
        self.drains += 1
        return self.drained

    def reload(self) -> None:
        self.reloads += 1


class Watchdog:
    """Without a thread."""

    def __init__(self) -> None:
        self.bounds: list[float] = []
        self.watching = 0

    def start(
        self, noticed: Callable[[int], object], lastCall: Callable[[], object], leave: Callable[[], object]
    ) -> None:
        self.noticed, self.lastCall, self.leave = noticed, lastCall, leave

    def watchSignals(self) -> None:
        self.watching += 1

    def leaveWithin(self, seconds: float) -> None:
        self.bounds.append(seconds)


class ExitTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.stderr = io.StringIO()
        self.atexit: list[tuple[Any, ...]] = []
        self.left: list[int] = []
        self.patch(sys, "__stderr__", self.stderr)
        self.patch(atexit, "register", lambda *call: self.atexit.append(call))
        self.patch(os, "_exit", self.left.append)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as it is where nobody has it ignored
        self.reactor = Reactor()
        self.proxy = Proxy()
        self.pidfile = Path(self.mktemp())
        self.exit = Exit(self.reactor, str(self.pidfile))

    def signal(self, number: signal.Signals) -> None:
        """Deliver a signal."""
        handler = signal.getsignal(number)
        assert callable(handler)
        handler(number, None)

    def statuses(self) -> list[int]:
        """With which statuses the interpreter will leave, once it is done."""
        for function, *arguments in self.atexit:
            function(*arguments)
        return self.left


class StatusTests(ExitTestCase):
    """The status that was asked for."""

    def test_interface(self) -> None:
        """It provides what services are given."""
        verifyObject(IStatusStop, self.exit)

    def test_success(self) -> None:
        """Status 0 takes no more than stopping the reactor."""
        self.exit.stop(0)
        self.reactor.begin()
        self.assertEqual((self.reactor.stops, self.statuses()), (1, []))

    def test_failure(self) -> None:
        """Another status is what the interpreter leaves with, at its very end."""
        self.exit.stop(3)
        self.reactor.begin()
        self.assertEqual((self.reactor.stops, self.left), (1, []))
        self.assertEqual(self.statuses(), [3])

    def test_firstWins(self) -> None:
        """Later statuses change nothing."""
        self.exit.stop(3)
        self.exit.stop(4)
        self.exit.stop(0)
        self.reactor.begin()
        self.assertEqual((self.reactor.stops, self.statuses()), (1, [3]))

    def test_beforeTheReactorRuns(self) -> None:
        """Asked for too early, the stop waits for the reactor to run."""
        self.exit.stop(0)
        self.assertEqual(self.reactor.stops, 0)


class SignalTests(ExitTestCase):
    """What the signals do."""

    def setUp(self) -> None:
        super().setUp()
        self.exit.obeySignals(self.proxy)

    def test_terminate(self) -> None:
        """SIGTERM and SIGINT drain first, and then stop the reactor, for status 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self.reactor, self.proxy = Reactor(), Proxy()
            Exit(self.reactor).obeySignals(self.proxy)
            self.signal(number)
            self.assertEqual(self.proxy.drains, 0)
            self.reactor.turn()
            self.assertEqual((self.proxy.drains, self.reactor.stops), (1, 0))
            self.proxy.drained.callback(None)
            self.assertEqual((self.reactor.stops, self.statuses()), (1, []))

    def test_statusWhileDraining(self) -> None:
        """What a service asks for during the drain comes too late."""
        self.signal(signal.SIGTERM)
        self.reactor.turn()
        self.exit.stop(5)
        self.proxy.drained.callback(None)
        self.assertEqual((self.reactor.stops, self.statuses()), (1, []))

    def test_failedDrain(self) -> None:
        """A drain that fails is logged, and ends all the same."""
        self.signal(signal.SIGTERM)
        self.reactor.turn()
        self.proxy.drained.errback(RuntimeError("stuck"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.reactor.stops, 1)

    def test_second(self) -> None:
        """A second one leaves from within the handler, without the pidfile or another process."""
        self.pidfile.write_text("1")
        self.signal(signal.SIGINT)
        self.assertEqual((self.left, self.proxy.abandons), ([], 0))
        self.signal(signal.SIGTERM)
        self.assertEqual((self.left, self.proxy.abandons), ([143], 1))
        self.assertFalse(self.pidfile.exists())

    def test_secondWithoutPidfile(self) -> None:
        """A pidfile that is not there, or that nobody wanted, does not keep it."""
        for stopper in (self.exit, Exit(self.reactor)):
            stopper.obeySignals(self.proxy)
            self.signal(signal.SIGINT)
            self.signal(signal.SIGINT)
        self.assertEqual(self.left, [130, 130])

    def test_terminateWhileStopping(self) -> None:
        """A first SIGTERM that comes when the process is stopping already leaves it at that."""
        self.exit.stop(3)
        self.signal(signal.SIGTERM)
        self.reactor.turn()
        self.assertEqual((self.proxy.drains, self.statuses()), (0, [3]))

    def test_hangUp(self) -> None:
        """SIGHUP reloads, in the reactor's own time."""
        self.signal(signal.SIGHUP)
        self.assertEqual(self.proxy.reloads, 0)
        self.reactor.turn()
        self.assertEqual(self.proxy.reloads, 1)

    def test_logFile(self) -> None:
        """SIGUSR1 opens the log anew, in the reactor's own time."""
        log = Log()
        reopened: list[None] = []
        self.patch(log, "reopen", lambda: reopened.append(None))
        Exit(self.reactor, log=log).obeySignals(self.proxy)
        self.signal(signal.SIGUSR1)
        self.assertEqual(reopened, [])
        self.reactor.turn()
        self.assertEqual(len(reopened), 1)

    def test_afterTheReactorsOwn(self) -> None:
        """The handlers are there again after the reactor has installed its own."""
        ours = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.reactor.begin()
        self.assertEqual(
            getattr(signal.getsignal(signal.SIGTERM), "__qualname__", None), getattr(ours, "__qualname__", "")
        )

    def test_whileTheReactorStarts(self) -> None:
        """A signal that arrives right after the reactor has put its own handler there is obeyed by ours."""
        script = (
            "import os, signal\n"
            "from twisted.internet import reactor\n"
            "from twisted.internet.defer import succeed\n"
            "from wsproxy.daemon.exit import Exit\n"
            "from wsproxy.daemon.watchdog import Watchdog\n"
            "class Proxy:\n"
            "    def drain(self):\n"
            "        print('drained')\n"
            "        return succeed(None)\n"
            "    abandon = None\n"
            "Exit(reactor, watchdog=Watchdog()).obeySignals(Proxy())\n"
            "reactor.addSystemEventTrigger('during', 'startup', os.kill, os.getpid(), signal.SIGTERM)\n"
            "reactor.run()\n"
            "print(reactor._exitSignal)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=Path(__file__).parents[1],
            check=False,
            text=True,
            capture_output=True,
            timeout=30,
        )
        self.assertEqual((done.stdout, done.returncode), ("drained\nNone\n", 0), done.stderr)

    def test_ignoredInterrupt(self) -> None:
        """A SIGINT that the parent had ignored, as a shell does for a background job, stays ignored."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.reactor.begin()
        self.assertIs(signal.getsignal(signal.SIGINT), signal.SIG_IGN)


class BoundTests(ExitTestCase):
    """When the process has left at the latest, and how."""

    def setUp(self) -> None:
        super().setUp()
        self.watchdog = Watchdog()
        watchdog: Any = self.watchdog
        self.exit = Exit(self.reactor, str(self.pidfile), drain=30.0, watchdog=watchdog)
        self.exit.obeySignals(self.proxy)

    def test_terminate(self) -> None:
        """The drain and the bound; when the drain is over the bound alone; then threads have little time."""
        self.signal(signal.SIGTERM)
        self.reactor.turn()
        self.assertEqual(self.watchdog.bounds, [30.0 + BOUND])
        self.proxy.drained.callback(None)
        self.assertEqual(self.watchdog.bounds[1:], [BOUND])
        for function, arguments, keywords in self.reactor.triggers["during"]["shutdown"]:
            function(*arguments, **keywords)
        self.assertEqual(self.watchdog.bounds[2:], [THREADS])

    def test_stop(self) -> None:
        """A proxy that ends by itself has the bound."""
        self.exit.stop(3)
        self.assertEqual(self.watchdog.bounds, [BOUND])

    def test_mainThreadIsBusy(self) -> None:
        """SIGTERM counts though its handler does not come to run, and so does a second one, for a quick end."""
        self.watchdog.noticed(signal.SIGCHLD)
        self.watchdog.noticed(signal.SIGHUP)
        self.assertEqual(self.watchdog.bounds, [])
        self.watchdog.noticed(signal.SIGTERM)
        self.assertEqual(self.watchdog.bounds, [30.0 + BOUND])
        self.watchdog.noticed(signal.SIGTERM)
        self.assertEqual(min(self.watchdog.bounds), THREADS)

    def test_watches(self) -> None:
        """Signals are watched at once, and again when the reactor has had itself told of them."""
        self.assertEqual(self.watchdog.watching, 1)
        self.reactor.begin()
        self.assertEqual(self.watchdog.watching, 2)

    def test_left(self) -> None:
        """When the time is over processes are killed, the pidfile goes, and the status is the one that was chosen."""
        for choose, status in ((lambda: None, 0), (lambda: self.exit.stop(3), 3)):
            choose()
            self.pidfile.write_text("1")
            self.watchdog.lastCall()
            self.watchdog.leave()
            self.assertFalse(self.pidfile.exists())
            self.assertEqual(self.left[-1], status)
        self.assertEqual(self.proxy.numbers, [signal.SIGTERM, signal.SIGKILL] * 2)

    def test_hangingWords(self) -> None:
        """Nothing that is done on the way out is waited for: here, what would signal other processes."""
        stuck = Event()
        self.addCleanup(stuck.set)
        self.patch(self.proxy, "abandon", lambda number: stuck.wait())
        self.watchdog.leave()
        self.assertEqual(self.left, [0])

    def test_badDrain(self) -> None:
        """A drain that cannot even begin ends all the same."""
        self.patch(self.proxy, "drain", lambda: 1 / 0)
        self.signal(signal.SIGTERM)
        self.reactor.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.reactor.stops, 1)


class ComplaintTests(ExitTestCase):
    """What is said when the start fails."""

    def test_configError(self) -> None:
        """A start that fails late is one line on stderr, one in the log, and status 1."""
        with capturedLogs() as logs:
            self.exit.fail(Failure(ConfigError("--listen 80: taken")))
        self.assertEqual(self.stderr.getvalue(), "twistd websockify: --listen 80: taken\n")
        self.assertEqual([event["error"] for event in logs], ["twistd websockify: --listen 80: taken"])
        self.assertEqual(self.statuses(), [1])

    def test_once(self) -> None:
        """Where the log is read beside stderr, one line is enough."""
        stopper = Exit(self.reactor, log=Log(foreground=True))
        with capturedLogs() as logs:
            stopper.fail(Failure(ConfigError("--listen 80: taken")))
        self.assertEqual((self.stderr.getvalue(), logs), ("twistd websockify: --listen 80: taken\n", []))

    def test_ownFault(self) -> None:
        """Where the fault is ours, the log has the traceback as well."""
        self.exit.fail(Failure(ZeroDivisionError("oops")))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.stderr.getvalue(), "twistd websockify: oops\n")
        self.assertEqual(self.statuses(), [1])

    def test_withoutStderr(self) -> None:
        """A process without stderr has its log."""
        self.patch(sys, "__stderr__", None)
        with capturedLogs() as logs:
            self.exit.fail(Failure(ConfigError("--web x: gone")))
        self.assertEqual(len(logs), 1)
        self.assertEqual(self.statuses(), [1])

    def test_uncaught(self) -> None:
        """An uncaught exception is one line on stderr, and a traceback in the log unless it is mendable."""
        log = io.StringIO()
        self.patch(sys, "stderr", log)
        for error, line in (
            (ConfigError("--listen x: y"), "--listen x: y"),
            (
                FileNotFoundError(2, "No such file or directory", "log"),
                "[Errno 2] No such file or directory: 'log'",
            ),
        ):
            self.exit.tellInOneLine(type(error), error, None)
            self.assertEqual(self.stderr.getvalue(), f"twistd websockify: {line}\n")
            self.stderr.truncate(self.stderr.seek(0))
        self.assertEqual(log.getvalue(), "")
        error = ZeroDivisionError("oops")
        self.exit.tellInOneLine(type(error), error, None)
        self.assertEqual(self.stderr.getvalue(), "twistd websockify: ZeroDivisionError: oops\n")
        self.assertIn("ZeroDivisionError: oops", log.getvalue())


class DrainedAtOnceTests(ExitTestCase):
    """A proxy with nothing to drain."""

    def test_terminate(self) -> None:
        """The reactor stops in the same turn."""
        self.proxy.drained = succeed(None)
        self.exit.obeySignals(self.proxy)
        self.signal(signal.SIGTERM)
        self.reactor.turn()
        self.assertEqual(self.reactor.stops, 1)
