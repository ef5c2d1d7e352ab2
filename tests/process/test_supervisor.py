"""When a program is started again, what its end means, and what is known of where it listens."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.error import ProcessDone
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from wsproxy.process import supervisor as module
from wsproxy.process.command import Command
from wsproxy.process.launch import LIFE_LINE, STATUS
from wsproxy.process.listeners import Listeners
from wsproxy.process.report import Report
from wsproxy.process.run import Run
from wsproxy.process.supervisor import OPENS_WITHIN, TOLD, Rebinding, Supervisor, WrapMode

NOBODY = (1 << 22) + 1
"""More than any process id (PID_MAX_LIMIT of the kernel)."""

REBINDING = Rebinding("/r.so", 80)


class Process:
    """A process that is only said to run."""

    pid = NOBODY

    def __init__(self, protocol: Run, words: list[str], environment: dict[str, str]) -> None:
        self.protocol = protocol
        self.words = words
        self.environment = environment
        self._said: list[str] = []

    def exit(self, status: int = 0, signal: int | None = None) -> None:
        """The launcher says so, and is alone with that."""
        if "exit" not in self._said:
            self.say("exit", status if signal is None else 128 + signal)

    def say(self, what: str, number: int) -> None:
        self._said.append(what)
        self.protocol.childDataReceived(STATUS, f"{what} {number}\n".encode())

    def closeChildFD(self, descriptor: int) -> None:
        if descriptor == LIFE_LINE:
            self.exit(signal=15)
            self.protocol.childConnectionLost(STATUS)

    def loseConnection(self) -> None:
        self.protocol.processEnded(Failure(ProcessDone(0)))


class Reactor(Clock):
    """Time, processes and readers, without any."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.starts: list[float] = []
        self.readers: list[Any] = []
        self.addReader = self.readers.append
        self.removeReader = self.readers.remove
        self.exhausted = False

    def spawnProcess(
        self, protocol: Run, path: str, words: list[str], environment: dict[str, str], childFDs: object
    ) -> None:
        self.starts.append(self.seconds())
        if self.exhausted:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.processes.append(Process(protocol, words, environment))
        protocol.makeConnection(self.processes[-1])
        self.processes[-1].say("pid", NOBODY)


@implementer(ILogObserver)
class Lines(list[str]):
    def __call__(self, event: Any) -> None:
        self.append(formatEvent(event))


class SupervisorTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.log = Lines()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)
        self.reactor = Reactor()
        self.patch(module, "descends", lambda pid, ancestor: (pid, ancestor) == (os.getpid(), NOBODY))
        self.listeners = Listeners()
        self.statuses: list[int] = []
        self.moved: list[Report] = []

    def supervise(self, mode: WrapMode, rebinding: Rebinding | None = REBINDING, *words: str) -> Supervisor:
        command = Command("/bin/prog", ("prog", *words), {"PATH": "/bin"})
        supervisor = Supervisor(
            self.reactor,
            command,
            mode,
            rebinding,
            self.listeners,
            ended=self.statuses.append,
            moved=self.moved.append,
        )
        supervisor.startService()
        self.addCleanup(self.stop, supervisor)
        return supervisor

    def stop(self, supervisor: Supervisor) -> None:
        if supervisor.running:
            self.successResultOf(supervisor.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.reactor.readers, [])

    @property
    def process(self) -> Process:
        return self.reactor.processes[-1]

    def report(self, event: str = "listen", port: int = 1234) -> None:
        """What rebind says in the program."""
        self.say(event, f"inet 127.0.0.1 {port} 80 0.0.0.0")

    def say(self, event: str, where: str) -> None:
        self.send(event, where)
        self.read()

    def send(self, event: str, where: str) -> None:
        """Nobody has read it yet."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            line = f"1 {event} {NOBODY} {where}\n"
            sender.sendto(line.encode(), self.process.environment["REBIND_NOTIFY"])

    def read(self) -> None:
        for reader in self.reactor.readers:
            reader.doRead()

    def lines(self, word: str) -> list[str]:
        return [line for line in self.log if word in line]


class RespawnTests(SupervisorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.supervisor = self.supervise(WrapMode.RESPAWN)

    def test_crashLoop(self) -> None:
        """A program that ends at once is started after 1, 2, 4, 8, 16, 30, 30 s."""
        while len(self.reactor.starts) < 8:
            starts = len(self.reactor.starts)
            self.process.exit(1)
            while len(self.reactor.starts) == starts:
                self.reactor.advance(0.5)
        self.assertEqual(self.reactor.starts, [0, 1, 3, 7, 15, 31, 61, 91])
        self.assertEqual(self.statuses, [])

    def crash(self, seconds: float = 0) -> float:
        """@return: how long after a run of so many seconds the next one starts."""
        self.reactor.advance(seconds)
        ended = self.reactor.seconds()
        starts = len(self.reactor.starts)
        self.process.exit(signal=9)
        while len(self.reactor.starts) == starts:
            self.reactor.advance(0.5)
        return self.reactor.starts[-1] - ended

    def test_healthy(self) -> None:
        """After 10 s of life it starts at 1 s again; not after 9."""
        delays = [self.crash(), self.crash(), self.crash(9), self.crash(10), self.crash()]
        self.assertEqual(delays, [1, 2, 4, 1, 2])

    def test_served(self) -> None:
        """So it does after a run that served a client, however short: there are programs that serve one only."""
        self.crash()
        self.crash()
        self.listeners.served = True
        self.assertEqual(self.crash(), 1)
        self.assertEqual(self.crash(), 2)

    def test_listeners(self) -> None:
        """An address is good until the program ends; a report that was underway then is not for the next run."""
        self.report()
        self.assertEqual((self.listeners.at(80), self.listeners.running), (("127.0.0.1:1234",), True))
        self.process.exit(1)
        self.assertEqual((self.listeners.at(80), self.listeners.running), ((), False))
        self.reactor.advance(1)
        self.assertTrue(self.listeners.running)

    def test_lastWords(self) -> None:
        """What the program reported just before it ended counts for that run, and is not taken for the next one's."""
        self.send("listen", "inet 127.0.0.1 1234 80 0.0.0.0")
        self.process.exit(1)
        self.assertEqual([report.asked for report in self.moved], ["0.0.0.0:80"])
        self.assertEqual(self.lines("ended without opening"), [])
        self.reactor.advance(1)
        self.read()
        self.assertEqual((len(self.reactor.starts), self.listeners.at(80)), (2, ()))

    def test_stopWhileWaiting(self) -> None:
        """Stopped between two runs, it starts no more."""
        self.process.exit(1)
        self.successResultOf(self.supervisor.stopService())
        self.reactor.advance(60)
        self.assertEqual(self.reactor.starts, [0])

    def test_noProcesses(self) -> None:
        """Where no process can be started it tries again, like after a crash."""
        self.reactor.exhausted = True
        self.process.exit(1)
        for _ in range(6):
            self.reactor.advance(0.5)
        self.assertEqual(self.reactor.starts, [0, 1, 3])
        self.assertEqual(len(self.lines("cannot be started: [Errno 11] Resource temporarily unavailable")), 2)
        self.reactor.exhausted = False
        self.reactor.pump([0.5] * 8)
        self.assertEqual(len(self.reactor.processes), 2)


class EndTests(SupervisorTestCase):
    def test_exit(self) -> None:
        """The end of the program is told, with its status or 128 and the signal."""
        self.supervise(WrapMode.EXIT)
        self.process.exit(7)
        self.assertEqual(self.statuses, [7])
        self.reactor.advance(60)
        self.assertEqual(self.reactor.starts, [0])

    def test_signal(self) -> None:
        """A signal counts from 128."""
        self.supervise(WrapMode.EXIT)
        self.process.exit(0, 15)
        self.assertEqual(self.statuses, [143])

    def test_ignore(self) -> None:
        """A program that puts itself in the background is still there, and what it moved stays the target."""
        self.supervise(WrapMode.IGNORE)
        self.report(port=1)
        self.process.exit(0)
        self.report(port=2)
        self.assertEqual(self.statuses, [])
        self.assertEqual(self.listeners.at(80), ("127.0.0.1:2", "127.0.0.1:1"))
        self.assertTrue(self.listeners.running)

    def test_neverStarted(self) -> None:
        """A program that could not be started has ended with status 126, and nothing is left of it either."""
        self.reactor.exhausted = True
        supervisor = self.supervise(WrapMode.EXIT)
        self.assertEqual(self.statuses, [126])
        (reader,) = self.reactor.readers
        self.stop(supervisor)
        self.assertFalse(os.path.exists(reader.path))

    def test_stop(self) -> None:
        """Once stopped nothing is left: no directory, no addresses; what ends the program then is not its own doing."""
        supervisor = self.supervise(WrapMode.EXIT)
        directory = os.path.dirname(self.process.environment["REBIND_NOTIFY"])
        self.report()
        self.stop(supervisor)
        self.assertEqual((self.statuses, bool(self.listeners), os.path.exists(directory)), ([], False, False))


class ReportTests(SupervisorTestCase):
    def test_environment(self) -> None:
        """The program is told which port to move, and where to report it."""
        self.supervise(WrapMode.EXIT)
        variables = self.process.environment
        self.assertEqual((variables["REBIND_OLD_PORT"], variables["LD_PRELOAD"]), ("80", "/r.so"))
        self.assertEqual(self.process.words[-2:], ["/bin/prog", "prog"])

    def test_boundOnly(self) -> None:
        """A socket that was only bound is no target."""
        self.supervise(WrapMode.EXIT)
        self.report("bind")
        self.assertFalse(self.listeners)
        self.assertEqual(self.moved, [])
        self.report()
        self.assertEqual([report.asked for report in self.moved], ["0.0.0.0:80"])

    def test_stranger(self) -> None:
        """What a process reports that is none of the program's is ignored, and said once."""
        self.supervise(WrapMode.EXIT)
        self.patch(module, "descends", lambda pid, ancestor: False)
        for _ in range(2):
            self.report()
        self.assertEqual((bool(self.listeners), self.moved), (False, []))
        (line,) = self.lines("none that the program has started")
        self.assertIn(f"process {os.getpid()} is none", line)

    def test_boundElsewhere(self) -> None:
        """Who listens on a socket that another process has bound may not know the port; the bind's report did."""
        self.supervise(WrapMode.EXIT, Rebinding("/r.so", None))
        self.say("bind", "inet6 ::1 1234 80 ::")
        self.say("listen", "inet6 ::1 1234 0 ::1")
        self.say("listen", "inet6 ::1 4321 0 ::1")
        self.assertEqual(self.listeners.at(80), ("[::1]:1234",))
        self.assertEqual([report.asked for report in self.moved], ["[::]:80"])

    def test_silence(self) -> None:
        """A program that runs without opening its port is mentioned once, with what can be done."""
        self.supervise(WrapMode.RESPAWN)
        self.reactor.advance(OPENS_WITHIN - 0.1)
        self.assertEqual(self.lines("{port} or {socket}"), [])
        self.reactor.advance(0.1)
        self.process.exit(1)
        self.reactor.advance(1)
        self.reactor.advance(OPENS_WITHIN)
        (line,) = self.lines("{port} or {socket}")
        self.assertIn("prog has run for 5 s without opening port 80", line)

    def test_earlyEnd(self) -> None:
        """So is one that ends without having opened it: the port that it wants is the proxy's."""
        self.supervise(WrapMode.EXIT, Rebinding("/r.so", None))
        self.process.exit(1)
        self.assertEqual(len(self.lines("prog ended without opening a port")), 1)

    def test_listened(self) -> None:
        """There is nothing to say of a program that has listened."""
        self.supervise(WrapMode.EXIT)
        self.report()
        self.reactor.advance(OPENS_WITHIN)
        self.process.exit(1)
        self.assertEqual(self.lines("{port} or {socket}"), [])

    def test_noProgram(self) -> None:
        """Nor of one that could not be run."""
        self.supervise(WrapMode.EXIT)
        self.process.exit(127)
        self.assertEqual(self.lines("{port} or {socket}"), [])

    def test_background(self) -> None:
        """One in the background has as much time as any."""
        self.supervise(WrapMode.IGNORE)
        self.process.exit(0)
        self.report()
        self.reactor.advance(OPENS_WITHIN)
        self.assertEqual(self.lines("{port} or {socket}"), [])

    def test_failed(self) -> None:
        """One that has failed is not in the background: what was wrong, it has said itself."""
        self.supervise(WrapMode.IGNORE)
        self.process.exit(1)
        self.reactor.advance(OPENS_WITHIN)
        self.assertEqual(self.lines("{port} or {socket}"), [])
        self.assertEqual(len(self.lines("prog has failed without opening port 80")), 1)

    def test_ownPorts(self) -> None:
        """Each run has a port of its own, which nobody else can have until it has ended."""
        self.supervise(WrapMode.RESPAWN)
        ports = []
        for _ in range(2):
            port = int(self.process.environment["REBIND_TREE_PORT"])
            ports.append(port)
            with socket.socket() as thief:
                thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.assertRaises(OSError, thief.bind, ("0.0.0.0", port))
            self.process.exit(0)
            with socket.socket() as heir:
                heir.bind(("0.0.0.0", port))
            self.reactor.advance(1)
        self.assertNotEqual(*ports)

    def test_placeholders(self) -> None:
        """A program that is told where to listen has nothing preloaded; where that is, is known from the start."""
        self.supervise(WrapMode.RESPAWN, None, "--port", "{port}")
        self.assertEqual(self.process.environment, {"PATH": "/bin"})
        for _ in range(2):
            port = self.process.words[-1]
            self.assertEqual(self.listeners.at(TOLD), (f"127.0.0.1:{port}", f"[::1]:{port}"))
            self.process.exit(0)
            self.assertFalse(self.listeners)
            self.reactor.advance(1)

    def test_output(self) -> None:
        """What it prints is in the log."""
        self.supervise(WrapMode.EXIT)
        self.process.protocol.childDataReceived(1, b"hello {world}\n")
        self.assertIn("prog: hello {world}", self.log)
