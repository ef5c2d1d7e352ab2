"""When a worker is replaced, and how they all end."""

from __future__ import annotations

import os
import signal
import socket
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
from wsproxy.workers.channel import ANSWER_WITHIN
from wsproxy.workers.messages import Answer, Message, Messages
from wsproxy.workers.parent import ENDING, HEALTHY, KILL_AFTER, LONGEST_DELAY, UP_WITHIN, Workers
from wsproxy.workers.unheard import UNHEARD


class Process:
    """A process that is only said to run. Its end of the channel is real."""

    def __init__(self, reactor: Reactor, protocol: Any, pid: int, connection: socket.socket) -> None:
        self.protocol = protocol
        self.pid = pid
        self.signals: list[int] = []
        self.heard: list[Message] = []
        self.answers: list[Answer] = []
        self._reactor = reactor
        self._connection = connection
        self._connection.setblocking(False)
        self._messages = Messages()
        self._hungUp = False

    @property
    def told(self) -> list[list[Any]]:
        """What it has been told so far, and was not asked."""
        self._hear()
        return [[each.verb, *each.fields.values()] for each in self.heard if each.ask is None]

    def answered(self) -> list[Answer]:
        self._hear()
        return self.answers

    @property
    def asked(self) -> list[tuple[str, int]]:
        self._hear()
        return [(each.verb, each.ask) for each in self.heard if each.ask is not None]

    @property
    def hungUp(self) -> bool:
        self._hear()
        return self._hungUp

    def _hear(self) -> None:
        while not self._hungUp:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._connection, 65536, 100)
            except BlockingIOError:
                return
            for message in self._messages.feed(data, descriptors):
                if isinstance(message, Answer):
                    self.answers.append(message)
                    continue
                self.heard.append(message)
                for descriptor in message.descriptors:
                    os.close(descriptor)
            self._hungUp = not data

    def signalProcess(self, number: int) -> None:
        self.signals.append(number)

    def say(self, verb: str, **fields: object) -> None:
        self.send(Message(verb, fields))

    def send(self, message: Message | Answer) -> None:
        self._connection.sendall(message.encode())
        self._reactor.read()

    def close(self) -> None:
        self._connection.close()

    def end(self, status: int = 0, signal: int | None = None) -> None:
        self._hear()
        self._hungUp = True
        self.close()
        failed = ProcessTerminated(status, signal) if status or signal else ProcessDone(0)
        self.protocol.processEnded(Failure(failed))


class Reactor(Clock):
    """Time and processes, without any."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.childFDs: dict[int, Any] = {}
        self.held: set[Any] = set()
        self.refusal: OSError | None = None
        self.readers: set[Any] = set()
        self.addReader = self.readers.add
        self.removeReader = self.readers.discard

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        function(*arguments)

    def read(self) -> None:
        """Have the channels take what is there."""
        for reader in tuple(self.readers):
            reader.doRead()

    def spawnProcess(
        self, protocol: Any, path: str, words: list[str], environment: dict[str, str], childFDs: dict[int, Any]
    ) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.childFDs = childFDs
        self.held = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        connection = socket.socket(fileno=os.dup(childFDs[0]))
        process = Process(self, protocol, 1000 + len(self.processes), connection)
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
        self.addCleanup(self.close, self.reactor)
        self.workers = Workers(config, self.reactor, stopper, ("sh", 80, True), self.listeners)

    def start(self) -> None:
        self.workers.privilegedStartService()
        self.workers.startService()

    def close(self, reactor: Reactor) -> None:
        for each in (*reactor.readers, *reactor.processes):
            each.close()

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
        self.assertEqual(set(self.reactor.childFDs), {0, 1, 2})
        self.assertLessEqual(set(UNHEARD), self.reactor.held)
        self.assertEqual([len(message.descriptors) for message in self.running().heard], [1, 0, 0])

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
            process.say("unable", line="--cert x: no")
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
        self.running().say("unable", line="--cert x: no")
        self.running().end(1)
        self.assertIn("worker 2 cannot be started (--cert x: no); another starts in 2 s", self.lines())
        self.assertEqual(self.stopper.complaints, [])
        self.reactor.advance(2)
        self.assertEqual(len(self.reactor.processes), 4)

    def test_hanging(self) -> None:
        """One that neither comes up nor ends is killed, and another one starts; one that is up is left alone."""
        self.start()
        self.reactor.processes[0].say("up")
        self.reactor.advance(UP_WITHIN - 0.5)
        self.assertEqual([process.signals for process in self.reactor.processes], [[], []])
        self.reactor.advance(0.5)
        self.assertEqual([process.signals for process in self.reactor.processes], [[], [9]])
        self.assertIn("worker 2 has not come up for 60 s", self.lines())
        self.running().end(signal=9)
        self.reactor.advance(1)
        self.assertEqual(len(self.reactor.processes), 3)

    def test_paused(self) -> None:
        """
        One that has not come up when others are to take over ends without a word, and no other starts meanwhile, nor
        for one that has ended before or dies then. Where this code goes on after all they start.
        """
        self.start()
        for _ in range(2):
            first, second = self.reactor.processes[-2:]
            first.end(1)
            self.events.clear()
            pausing = Deferred.fromCoroutine(self.workers.pause())
            self.assertEqual(second.signals, [9])
            second.end(signal=9)
            self.successResultOf(pausing)
            before = len(self.reactor.processes)
            self.reactor.advance(LONGEST_DELAY)
            self.assertEqual(len(self.reactor.processes), before)
            self.assertEqual(self.lines(), [])
            self.workers.resume()
            self.assertEqual(len(self.reactor.processes), before + 2)

    def test_pausedEnd(self) -> None:
        """The end comes in a pause as well, and what waits for its end starts nothing."""
        self.start()
        pausing = Deferred.fromCoroutine(self.workers.pause())
        for process in self.reactor.processes:
            process.end(signal=9)
        self.successResultOf(pausing)
        self.successResultOf(self.workers.stopService())
        self.workers.resume()
        self.assertEqual(len(self.reactor.processes), 2)

    def test_log(self) -> None:
        """Each line of a worker says whose it is, whether logged or printed, and who in there said it."""
        self.start()
        self.events.clear()
        process = self.reactor.processes[0]
        process.say("log", namespace="there", level="warn", text="one\ntwo")
        process.protocol.childDataReceived(2, b"Fatal Python error\nSeg")
        process.protocol.childConnectionLost(2)
        self.assertEqual(
            self.lines(), ["worker 1: one", "worker 1: two", "worker 1: Fatal Python error", "worker 1: Seg"]
        )
        self.assertEqual(
            [(event["log_namespace"], event["log_level"].name) for event in self.events[:2]], [("there", "warn")] * 2
        )

    def test_answers(self) -> None:
        """Who has something in common with workers answers each by itself, and is told of its start and its end."""
        heard: list[Any] = []
        self.workers.answer("room.ask", lambda asker, what: heard.append((asker.number, what)) or asker.number * 10)
        self.workers.whenStarted(lambda asker: asker.tell("room.first", number=asker.number))
        self.workers.whenGone(lambda asker: heard.append((asker.number, "gone")))
        self.start()
        first, second = self.reactor.processes
        self.assertEqual([message[0] for message in second.told], ["start", "program", "room.first"])
        second.send(Message("room.ask", {"what": "this"}, ask=7))
        self.assertEqual(second.answered(), [Answer(7, 20)])
        self.workers.tellAll("room.news", of="all")
        self.assertEqual([first.told[-1], second.told[-1]], [["room.news", "all"]] * 2)
        second.say("room.ask", what="last")
        second.end()
        self.assertEqual(heard, [(2, "this"), (2, "last"), (2, "gone")])
        self.reactor.advance(1)
        self.assertEqual(self.running().told[-1], ["room.first", 2])

    def test_answersRaise(self) -> None:
        """One of them that raises keeps nobody from being told, and no worker from being replaced."""
        heard: list[int] = []

        def fail(asker: Any) -> None:
            raise ZeroDivisionError

        for tell in (self.workers.whenStarted, self.workers.whenGone):
            tell(fail)
            tell(lambda asker: heard.append(asker.number))
        self.start()
        self.running().end()
        self.reactor.advance(1)
        self.assertEqual(heard, [1, 2, 2, 2])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 4)

    def test_program(self) -> None:
        """What workers find out about the program counts, unless there is newer word of it."""
        self.start()
        self.listeners.add(80, "127.0.0.1:1")
        self.running().say("gone", generation=0, port=80, address="127.0.0.1:1")
        self.assertEqual(self.listeners.at(80), ("127.0.0.1:1",))
        self.running().say("gone", generation=1, port=80, address="127.0.0.1:1")
        self.assertEqual(self.listeners.at(80), ())
        self.running().say("served")
        self.assertTrue(self.listeners.served)


class EndTests(WorkersTestCase):
    def start(self) -> None:
        """Start workers, which take connections by now."""
        super().start()
        for process in self.reactor.processes:
            process.say("up")

    def test_starting(self) -> None:
        """One that is still starting when the end comes has nobody to serve, and is not to begin: it is killed."""
        for end in ("drain", "stopService"):
            self.setUp()
            super().start()
            self.reactor.processes[0].say("up")
            over = getattr(self.workers, end)()
            self.assertEqual([process.signals for process in self.reactor.processes], [[], [9]])
            self.ended(over)

    def test_drain(self) -> None:
        """Draining is over when the last worker has ended; none is replaced."""
        self.start()
        drained = self.workers.drain()
        self.assertEqual([process.told[-1] for process in self.reactor.processes], [["drain"]] * 2)
        self.ended(drained)
        self.reactor.advance(LONGEST_DELAY)
        self.assertEqual(len(self.reactor.processes), 2)

    def test_drainSessions(self) -> None:
        """Each is asked how many sessions it will end with; one that is stopped, and does not answer, is told of."""
        self.start()
        self.workers.drain()
        self.events.clear()
        first, second = self.reactor.processes
        self.assertEqual([verb for verb, _ in first.asked + second.asked], ["sessions"] * 2)
        first.send(Answer(first.asked[0][1], 3))
        self.reactor.advance(ANSWER_WITHIN)
        self.assertEqual(self.lines(), ["worker 1 drains its sessions: 3", "worker 2 has not answered for 5 s"])

    def test_drainDead(self) -> None:
        """One that ends before it answers needs no further word."""
        self.start()
        drained = self.workers.drain()
        self.events.clear()
        self.ended(drained)
        self.reactor.advance(ANSWER_WITHIN)
        self.assertEqual(self.lines(), [])

    def test_lastWords(self) -> None:
        """What a worker said before it ended is heard, though it has ended by then."""
        super().start()
        process = self.reactor.processes[0]
        process._connection.sendall(Message("unable", {"line": "--cert x: no"}).encode())
        process.end(1)
        self.assertEqual(self.stopper.complaints, ["--cert x: no"])

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
        """Workers end at the end of their channel; one that does not is killed."""
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
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        process.say("log", namespace="there", level="info", text="still here")
        self.assertIn("worker 1: still here", self.lines())

    def test_abandon(self) -> None:
        """Abandoned, all are killed."""
        self.start()
        self.workers.abandon()
        self.assertEqual([process.signals for process in self.reactor.processes], [[9]] * 2)
