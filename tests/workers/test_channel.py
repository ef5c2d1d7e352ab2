"""The two ends of a channel, over real sockets."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import resource
import socket
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wsproxy.daemon.outlet import LIMIT, RETRY
from wsproxy.workers import channel
from wsproxy.workers.channel import ANSWER_WITHIN, Channel, ChannelError
from wsproxy.workers.messages import Message, Messages


class Reactor(Clock):
    """Time, and channels that read when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        function(*arguments)

    def read(self) -> None:
        """Until there is nothing left to read."""
        for _ in range(10):
            for reader in tuple(self.readers):
                self.readOne(reader)

    def readOne(self, reader: Any) -> None:
        if reader.doRead() is not None:
            reader.connectionLost(Failure(CONNECTION_DONE))


def inode(descriptor: int) -> int:
    return os.fstat(descriptor).st_ino


class ChannelTestCase(SynchronousTestCase):
    """A channel, and another one on the other side."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.ends: list[str] = []
        here, there = socket.socketpair()
        self.here = Channel(self.reactor, here, "there")
        self.there = Channel(self.reactor, there, "here", lambda count: Message("log", {"lost": count}).encode())
        self.addCleanup(self.here.close)
        self.addCleanup(self.there.close)
        for side, name in ((self.here, "here"), (self.there, "there")):
            side.start(
                {"note": lambda **fields: self.heard.append(("note", fields)), "log": self.log, "double": self.double},
                lambda name=name: self.ends.append(name),
            )

    def log(self, **fields: Any) -> None:
        self.heard.append(("log", fields))

    def double(self, of: Any) -> Any:
        return of * 2

    def pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        for each in ends:
            self.addCleanup(os.close, each)
        return ends


class ConversationTests(ChannelTestCase):
    def test_interface(self) -> None:
        """It is what it says."""
        verifyObject(IReadDescriptor, self.here)

    def test_tell(self) -> None:
        """What the one side says the other hears, in order, and the other way round."""
        for side in (self.here, self.there):
            self.heard.clear()
            side.tell("note", number=1)
            side.tell("note", number=2)
            self.reactor.read()
            self.assertEqual(self.heard, [("note", {"number": 1}), ("note", {"number": 2})])

    def test_ask(self) -> None:
        """Both sides ask, also at the same time, and each gets its own answers."""
        answers = [self.here.ask("double", of=1), self.here.ask("double", of="x"), self.there.ask("double", of=3)]
        self.reactor.read()
        self.assertEqual([self.successResultOf(answer) for answer in answers], [2, "xx", 6])
        self.reactor.advance(ANSWER_WITHIN)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_later(self) -> None:
        """An answer may take its time, and others overtake it."""
        slow: Deferred[int] = Deferred()
        self.there.start({"slow": lambda: slow, "fast": lambda: 1})
        first, second = self.here.ask("slow"), self.here.ask("fast")
        self.reactor.read()
        self.assertNoResult(first)
        self.assertEqual(self.successResultOf(second), 1)
        slow.callback(2)
        self.reactor.read()
        self.assertEqual(self.successResultOf(first), 2)

    def test_refused(self) -> None:
        """What nobody knows, fails, or answers what cannot be said is answered with an error; a mistake is logged."""
        verbs = {"fail": lambda: 1 // 0, "object": object, "double": self.double}
        self.there.start({**verbs, "note": lambda **fields: self.heard.append(("note", fields))})
        answers = [self.here.ask(verb) for verb in ("nothing", "fail", "object")]
        self.reactor.read()
        errors = [self.failureResultOf(answer, ChannelError).getErrorMessage() for answer in answers]
        self.assertEqual(errors[:2], ["there is no nothing", "integer division or modulo by zero"])
        self.assertIn("not JSON serializable", errors[2])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.here.tell("nothing")
        self.here.tell("double")
        self.here.tell("note", number=1)
        self.reactor.read()
        self.assertEqual(len(self.flushLoggedErrors(ChannelError, TypeError)), 2)
        self.assertEqual(self.heard, [("note", {"number": 1})])

    def test_unsayable(self) -> None:
        """What cannot be said fails at once, and nothing of it is left, its descriptors neither."""
        reader, _ = self.pipe()
        self.assertRaises(TypeError, self.here.tell, "note", descriptors=[reader], it=object())
        self.assertRaises(TypeError, self.here.ask, "double", of=object())
        self.assertRaises(OSError, self.here.tell, "note", descriptors=[reader, 1 << 20])
        self.here.tell("note", number=1)
        self.reactor.read()
        self.assertEqual(self.heard, [("note", {"number": 1})])
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class DescriptorTests(ChannelTestCase):
    def take(self) -> list[int]:
        """The descriptors of the last message, to be closed in the end."""
        descriptors: tuple[int, ...] = self.heard[-1][1]["descriptors"]
        for each in descriptors:
            self.addCleanup(os.close, each)
        return list(descriptors)

    def test_passes(self) -> None:
        """A descriptor is the same file there, and its own: it may be closed here, and programs do not inherit it."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.here.tell("note", descriptors=[writer])
        os.close(writer)
        self.reactor.read()
        [passed] = self.take()
        os.write(passed, b"hello")
        self.assertEqual(os.read(reader, 5), b"hello")
        self.assertTrue(fcntl.fcntl(passed, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)

    def test_whose(self) -> None:
        """Each belongs to the message that it was sent with, among others that have none."""
        pipes = [self.pipe() for _ in range(3)]
        for pipe in pipes:
            self.here.tell("note", number=0)
            self.here.tell("note", descriptors=pipe)
        self.reactor.read()
        found = [list(map(inode, fields["descriptors"])) for _, fields in self.heard if "descriptors" in fields]
        for _, fields in self.heard:
            for each in fields.get("descriptors", ()):
                self.addCleanup(os.close, each)
        self.assertEqual(found, [list(map(inode, pipe)) for pipe in pipes])
        self.assertEqual([len(fields) for _, fields in self.heard], [1] * 6)

    def test_asked(self) -> None:
        """A question has some as well."""

        def which(descriptors: tuple[int, ...]) -> list[int]:
            found = list(map(inode, descriptors))
            for each in descriptors:
                os.close(each)
            return found

        self.there.start({"which": which})
        pipe = self.pipe()
        answer = self.here.ask("which", descriptors=pipe)
        self.reactor.read()
        self.assertEqual(self.successResultOf(answer), list(map(inode, pipe)))

    def test_many(self) -> None:
        """More than the kernel passes with one call arrive, in order."""
        reader, writer = self.pipe()
        self.here.tell("note", descriptors=[reader, writer] * 300)
        self.reactor.read()
        self.assertEqual(list(map(inode, self.take())), [inode(reader), inode(writer)] * 300)

    def test_unread(self) -> None:
        """They arrive though the other side is deaf for a while, and they are closed here meanwhile."""
        self.there.tell("note", text="x" * 10**6)
        reader, writer = os.pipe()
        inodes = list(map(inode, (reader, writer)))
        self.there.tell("note", descriptors=(reader, writer))
        os.close(reader)
        os.close(writer)
        for _ in range(20):
            self.reactor.read()
            self.reactor.advance(RETRY)
        self.assertEqual(len(self.heard), 2)
        self.assertEqual(list(map(inode, self.take())), inodes)

    def test_noRoom(self) -> None:
        """Where the other side has no room for them, that is its end: a message without them would be another one."""
        reader, _ = self.pipe()
        self.here.tell("note", descriptors=[reader] * 50)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 10, hard))
        try:
            result = self.there.doRead()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertIs(result, CONNECTION_DONE)
        self.there.connectionLost(Failure(CONNECTION_DONE))
        self.assertEqual((self.heard, self.ends), ([], ["there"]))
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_scarce(self) -> None:
        """Where the kernel passes no more of them for now (unix(7): ETOOMANYREFS), nothing is lost but time."""

        class Scarce:
            def __init__(self, connection: socket.socket) -> None:
                self.connection = connection

            def sendmsg(self, *_: object) -> int:
                raise OSError(errno.ETOOMANYREFS, "Too many references: cannot splice")

        reader, _ = self.pipe()
        connection = self.here._sink._connection
        scarce: Any = Scarce(connection)
        self.here._sink._connection = scarce
        self.here.tell("note", descriptors=[reader])
        self.here._sink._connection = connection
        self.reactor.read()
        self.assertEqual(self.heard, [])
        self.reactor.advance(RETRY)
        self.reactor.read()
        self.assertEqual(list(map(inode, self.take())), [inode(reader)])

    def test_nobodys(self) -> None:
        """None is left open, whether nobody knows the message, it never came, or the channel was closed."""
        reader, writer = os.pipe()
        self.here.tell("nothing", descriptors=[writer])
        self.reactor.read()
        self.flushLoggedErrors(ChannelError)
        self.here._connection.sendmsg([b"{"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, writer.to_bytes(4, "little"))])
        self.reactor.read()
        self.there.tell("note", text="x" * 10**6)
        self.there.tell("note", descriptors=[writer])
        os.close(writer)
        self.here.close()
        self.there.close()
        gc.collect()
        self.assertEqual(os.read(reader, 1), b"")  # every other end of it is closed
        os.close(reader)


class OtherSideTests(ChannelTestCase):
    """One that is deaf, or has gone."""

    def test_mute(self) -> None:
        """An answer that does not come in time is no answer, and one that comes later is nobody's."""
        slow: Deferred[int] = Deferred()
        self.there.start({"slow": lambda: slow})
        answer = self.here.ask("slow", within=2)
        self.reactor.read()
        self.reactor.advance(1.9)
        self.assertNoResult(answer)
        self.reactor.advance(0.1)
        self.failureResultOf(answer, TimeoutError)
        slow.callback(1)
        self.reactor.read()
        self.assertEqual(self.ends, [])

    def test_gone(self) -> None:
        """All that was asked fails when the other side goes, and whatever is asked later; told, it is in vain."""
        answers = [self.here.ask("double", of=1) for _ in range(2)]
        self.there.close()
        self.reactor.read()
        for answer in [*answers, self.here.ask("double", of=1)]:
            self.failureResultOf(answer, ChannelError)
        self.here.tell("note", number=1)
        self.reactor.read()
        self.assertEqual(self.ends, ["here"])
        self.reactor.advance(ANSWER_WITHIN)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_lastWords(self) -> None:
        """What it said before it went is heard, whether or not the end has been noticed."""
        self.there.tell("note", text="x" * 100_000)
        self.there.close()
        self.here.exhaust()
        self.assertEqual([len(fields["text"]) for _, fields in self.heard], [100_000])
        self.assertEqual(self.reactor.readers, [])

    def test_hangUp(self) -> None:
        """Who hangs up says no more, but hears; who hears of it may still speak."""
        answer = self.here.ask("double", of=1)
        self.here.hangUp()
        self.here.tell("note", number=0)
        self.failureResultOf(self.here.ask("double", of=1), ChannelError)
        self.reactor.read()
        self.assertEqual(self.ends, ["there"])
        self.assertEqual(self.successResultOf(answer), 2)
        self.there.tell("note", number=1)
        self.reactor.read()
        self.assertEqual(self.heard, [("note", {"number": 1})])

    def test_deaf(self) -> None:
        """Nobody waits for one that reads nothing. Log lines are lost, and how many; nothing else is."""
        lines = [Message("log", {"text": "x" * 990}).encode()] * 100
        for number in range(20):
            self.there.tellIfRoom(lines)
            self.there.tell("note", number=number)
        answer = self.there.ask("double", of=1)
        for _ in range(30):
            self.reactor.read()
            self.reactor.advance(RETRY)
        self.assertEqual([fields["number"] for verb, fields in self.heard if verb == "note"], list(range(20)))
        [lost] = [fields["lost"] for verb, fields in self.heard if "lost" in fields]
        kept = sum("text" in fields for _, fields in self.heard)
        self.assertEqual(lost + kept, 2000)
        self.assertGreater(kept, LIMIT // 1100)
        self.assertEqual(self.successResultOf(answer), 2)

    def test_deafForever(self) -> None:
        """What waits for it has a limit, even of what must not be lost: there it is given up, and that is said."""
        self.patch(channel, "MOST", 10**6)
        events: list[Any] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        answer = self.here.ask("double", of=1)
        for _ in range(20):
            self.here.tell("note", text="x" * 99_000)
        self.failureResultOf(answer, ChannelError)
        self.assertEqual(self.ends, ["here"])
        self.assertEqual([formatEvent(event) for event in events], ["there reads nothing, and is given up"])

    @given(st.binary(max_size=40))
    def test_babbling(self, data: bytes) -> None:
        """What is no message is the end, and no more than that."""
        here, there = socket.socketpair()
        reactor = Reactor()
        self.here.close()
        reading = Channel(reactor, here, "there")
        reading.start({})
        there.sendall(data + b"\n")
        reactor.read()
        self.assertEqual(reactor.readers, [])
        self.flushLoggedErrors()
        reading.close()
        there.close()

    def test_finish(self) -> None:
        """The last words are waited for, and their reader no longer than that."""
        self.here.tell("note", text="x" * 10**6)
        self.here.finish(0.05)
        reader = Messages()
        self.assertEqual(list(reader.feed(self.there._connection.recv(100))), [])
        self.here.close()
        self.here.finish(0.05)

    def test_reactorStops(self) -> None:
        """When the reactor goes down, that is the end, once; words may still be said."""
        self.there.connectionLost(Failure(CONNECTION_DONE))
        self.there.connectionLost(Failure(CONNECTION_DONE))
        self.assertEqual(self.ends, ["there"])
        self.there.tell("note", number=1)
        self.reactor.read()
        self.assertEqual(self.heard, [("note", {"number": 1})])
