"""When a worker is replaced, and how they all end."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.config import Config, LifetimeConfig, ListeningConfig, TargetConfig
from wsproxy.process.listeners import Listeners
from wsproxy.service.proxy import LAST_WORDS
from wsproxy.workers.messages import REPORTS, SHARE, Messages, encode
from wsproxy.workers.parent import ENDING, HEALTHY, KILL_AFTER, LONGEST_DELAY, Workers


class Process:
    """A process that is only said to run."""

    def __init__(self, protocol: Any, pid: int) -> None:
        self.protocol = protocol
        self.pid = pid
        self.told: list[list[Any]] = []
        self.hungUp = False
        self.signals: list[int] = []
        self._messages = Messages()

    def writeToChild(self, childFD: int, data: bytes) -> None:
        assert childFD == 0 and not self.hungUp
        self.told += self._messages.feed(data)

    def closeChildFD(self, childFD: int) -> None:
        self.hungUp = True

    def signalProcess(self, number: int) -> None:
        self.signals.append(number)

    def say(self, verb: str, *words: object) -> None:
        self.protocol.childDataReceived(REPORTS, encode(verb, *words))

    def end(self, status: int = 0, signal: int | None = None) -> None:
        self.protocol.childConnectionLost(0)
        failed = ProcessTerminated(status, signal) if status or signal else ProcessDone(0)
        self.protocol.processEnded(Failure(failed))


class Reactor(Clock):
    """Time and processes, without any."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.childFDs: dict[int, Any] = {}
        self.refusal: OSError | None = None

    def spawnProcess(
        self, protocol: Any, path: str, words: list[str], environment: dict[str, str], childFDs: dict[int, Any]
    ) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.childFDs = childFDs
        process = Process(protocol, 1000 + len(self.processes))
        self.processes.append(process)
        protocol.makeConnection(process)


class Stopper:
    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.complaints: list[str] = []

    def stop(self, status: int) -> None:
        self.statuses.append(status)

    def fail(self, failure: Failure) -> None:
        self.complaints.append(failure.getErrorMessage())


class WorkersTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.reactor = Reactor()
        self.stopper = Stopper()
        self.listeners = Listeners()
        config = Config(
            listening=ListeningConfig((), workers=2),
            target=TargetConfig("demo:"),
            lifetime=LifetimeConfig(drain=60.0),
        )
        stopper: Any = self.stopper
        self.workers = Workers(config, self.reactor, stopper, ("sh", 80, True), self.listeners)

    def start(self) -> None:
        self.workers.privilegedStartService()
        self.workers.startService()

    def lines(self) -> list[str]:
        return [formatEvent(event) for event in self.events]

    def running(self) -> Process:
        return self.reactor.processes[-1]

    def ended(self, deferred: Deferred[None]) -> None:
        self.assertNoResult(deferred)
        for process in self.reactor.processes[:2]:
            process.end()
        self.successResultOf(deferred)


class LifeTests(WorkersTestCase):
    def test_told(self) -> None:
        """A worker is first told its settings, then of the program, then of each change of that."""
        self.start()
        for process in self.reactor.processes:
            self.assertEqual([message[0] for message in process.told], ["start", "program"])
        self.listeners.add(80, "127.0.0.1:1")
        self.assertEqual(self.running().told[-1], ["program", [1, False, False, [[80, ["127.0.0.1:1"]]]]])
        self.assertEqual(self.reactor.childFDs[0], "w")
        self.assertIn(SHARE, self.reactor.childFDs)

    def test_restarts(self) -> None:
        """One that dies again and again is started after 1 s, 2, 4, … 30; after a healthy life after 1 s again."""
        self.start()
        for delay in (1, 2, 4, 8, 16, LONGEST_DELAY, LONGEST_DELAY):
            before = len(self.reactor.processes)
            self.running().end(signal=11)
            self.assertIn(f"worker 2 ended with status 139; another starts in {delay:.0f} s", self.lines())
            self.reactor.advance(delay - 0.5)
            self.assertEqual(len(self.reactor.processes), before)
            self.reactor.advance(0.5)
            self.assertEqual(len(self.reactor.processes), before + 1)
        self.events.clear()
        self.reactor.advance(HEALTHY)
        self.running().end()
        self.assertEqual(self.lines(), ["worker 2 ended with status 0; another starts in 1 s"])

    def test_scarce(self) -> None:
        """One that cannot be started for want of memory is started later."""
        self.reactor.refusal = OSError(12, "Cannot allocate memory")
        self.start()
        self.assertIn("worker 1 cannot be started (Cannot allocate memory); another starts in 1 s", self.lines())
        self.reactor.refusal = None
        self.reactor.advance(1)
        self.assertEqual(len(self.reactor.processes), 2)

    def test_impossible(self) -> None:
        """One whose configuration is impossible ends it all, with what it says, once."""
        self.start()
        for process in self.reactor.processes:
            process.say("unable", "--cert x: no")
            process.end(1)
        self.assertEqual(self.stopper.complaints, ["--cert x: no"])
        self.reactor.advance(LONGEST_DELAY)
        self.assertEqual(len(self.reactor.processes), 2)

    def test_impossibleLater(self) -> None:
        """Once there was a worker that could use it, others go on, and it is tried again."""
        self.start()
        for process in self.reactor.processes:
            process.say("up")
        self.running().end(signal=9)
        self.reactor.advance(1)
        self.running().say("unable", "--cert x: no")
        self.running().end(1)
        self.assertIn("worker 2 cannot be started (--cert x: no); another starts in 2 s", self.lines())
        self.assertEqual(self.stopper.complaints, [])
        self.reactor.advance(2)
        self.assertEqual(len(self.reactor.processes), 4)

    def test_log(self) -> None:
        """Each line of a worker says whose it is, whether logged or printed, and who in there said it."""
        self.start()
        self.events.clear()
        process = self.reactor.processes[0]
        process.say("log", "there", "warn", "one\ntwo")
        process.protocol.childDataReceived(2, b"Fatal Python error\nSeg")
        process.protocol.childConnectionLost(2)
        self.assertEqual(
            self.lines(), ["worker 1: one", "worker 1: two", "worker 1: Fatal Python error", "worker 1: Seg"]
        )
        self.assertEqual(
            [(event["log_namespace"], event["log_level"].name) for event in self.events[:2]], [("there", "warn")] * 2
        )

    def test_program(self) -> None:
        """What workers find out about the program counts, unless there is newer word of it."""
        self.start()
        self.listeners.add(80, "127.0.0.1:1")
        self.running().say("gone", 0, 80, "127.0.0.1:1")
        self.assertEqual(self.listeners.at(80), ("127.0.0.1:1",))
        self.running().say("gone", 1, 80, "127.0.0.1:1")
        self.assertEqual(self.listeners.at(80), ())
        self.running().say("served")
        self.assertTrue(self.listeners.served)


class EndTests(WorkersTestCase):
    def test_drain(self) -> None:
        """Draining is over when the last worker has ended; none is replaced."""
        self.start()
        drained = self.workers.drain()
        self.assertEqual([process.told[-1] for process in self.reactor.processes], [["drain"]] * 2)
        self.ended(drained)
        self.reactor.advance(LONGEST_DELAY)
        self.assertEqual(len(self.reactor.processes), 2)

    def test_drainIsOver(self) -> None:
        """After C{--drain} seconds nobody is waited for any more; stopping sees to those that are left."""
        self.start()
        drained = self.workers.drain()
        self.reactor.advance(59.5)
        self.assertNoResult(drained)
        self.reactor.advance(0.5)
        self.successResultOf(drained)
        self.ended(self.workers.stopService())

    def test_stuck(self) -> None:
        """One that does not do as it is told, as it is stopped, is killed in time, whatever it was told to do."""
        self.start()
        self.workers.end(7)
        self.reactor.processes[0].end()
        self.reactor.advance(LAST_WORDS + 1.5)
        self.assertEqual([process.signals for process in self.reactor.processes], [[], [9]])
        self.reactor.processes[1].end(signal=9)
        self.assertEqual(self.stopper.statuses, [7])

    def test_program(self) -> None:
        """The wrapped program is ended when workers have told their clients so, and not much later if one does not."""
        for told in ((0, 1), (0,)):
            self.setUp()
            stops: list[float] = []
            program = Service()
            program.stopService = lambda stops=stops: stops.append(self.reactor.seconds())
            program.setServiceParent(self.workers)
            self.start()
            stopped = self.workers.stopService()
            for each in told:
                self.reactor.processes[each].say("ending")
            self.reactor.advance(0.5)
            self.assertEqual(len(stops), len(told) == 2)
            self.reactor.advance(ENDING)
            self.assertEqual(len(stops), 1)
            self.ended(stopped)

    def test_drainWithoutWorker(self) -> None:
        """One that is dead, and would be started later, is not waited for."""
        self.start()
        for process in self.reactor.processes:
            process.end(1)
        self.successResultOf(self.workers.drain())
        self.reactor.advance(LONGEST_DELAY)
        self.assertEqual(len(self.reactor.processes), 2)

    def test_programEnded(self) -> None:
        """The program's status is left with when clients have had its last words."""
        self.start()
        self.workers.end(7)
        self.assertEqual(self.running().told[-1], ["end"])
        self.assertEqual(self.stopper.statuses, [])
        for process in self.reactor.processes:
            process.end()
        self.assertEqual(self.stopper.statuses, [7])

    def test_stop(self) -> None:
        """Workers end at the end of their stdin; one that does not is killed."""
        self.start()
        stopped = self.workers.stopService()
        self.assertTrue(all(process.hungUp for process in self.reactor.processes))
        self.listeners.add(80, "127.0.0.1:1")  # nobody is told
        self.reactor.processes[0].end()
        self.reactor.advance(KILL_AFTER)
        self.assertEqual([process.signals for process in self.reactor.processes], [[], [9]])
        self.assertNoResult(stopped)
        self.reactor.processes[1].end(signal=9)
        self.successResultOf(stopped)

    def test_unstarted(self) -> None:
        """Those that were never started can be stopped."""
        self.successResultOf(self.workers.stopService())

    def test_nonsense(self) -> None:
        """A worker that says what nobody understands goes on being heard."""
        self.start()
        process = self.reactor.processes[0]
        process.say("unable")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        process.say("log", "there", "info", "still here")
        self.assertIn("worker 1: still here", self.lines())

    def test_abandon(self) -> None:
        """Abandoned, all are killed."""
        self.start()
        self.workers.abandon()
        self.assertEqual([process.signals for process in self.reactor.processes], [[9]] * 2)
