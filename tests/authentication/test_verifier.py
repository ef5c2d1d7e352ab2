"""One GET to a verifier: what is sent, what counts as an answer, and how much is waited for."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from wsproxy.authentication.verifier import Answer, Verifier, VerifierError
from wsproxy.dialling.webservice import HEAD_LIMIT
from wsproxy.dialling.webservice import LONGEST as BODY_LIMIT
from wsproxy.dialling.webservice import PATIENCE as ANSWER_TIMEOUT

OK = b"HTTP/1.1 200 OK\r\nX-Who: me\r\n"
WHOLE = OK + b"Content-Length: 0\r\n\r\n"
BEGUN = OK + b"Content-Length: 100000\r\n\r\n"


class Transport(StringTransport):
    """A connection as a client has it. C{aborted}: it has had enough of it."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class Connection:
    """One that the verifier was given, seen from its side."""

    def __init__(self, factory: Any) -> None:
        self.protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 9000))
        self.transport = Transport()
        self.protocol.makeConnection(self.transport)

    @property
    def asked(self) -> bytes:
        """What came since this was asked for last."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def say(self, data: bytes, size: int = 65536) -> None:
        """As long as somebody listens."""
        for at in range(0, len(data), size):
            if not self.transport.aborted:
                self.protocol.dataReceived(data[at : at + size])
        if self.transport.aborted:
            self.lose(ConnectionAborted())

    def lose(self, reason: Exception | None = None) -> None:
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))


class VerifierTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.verifier = self.make()

    def make(self, url: str = "http://127.0.0.1:9000/verify?a=b", **limits: Any) -> Verifier:
        return Verifier(self.reactor, url, **({"turns": 2} | limits))

    def ask(self, **headers: str) -> Deferred[Answer]:
        question = Headers({name: [value] for name, value in headers.items()})
        return Deferred.fromCoroutine(self.verifier.ask(question))

    def accept(self) -> Connection:
        """The next connection."""
        return Connection(self.reactor.tcpClients.pop(0)[2])

    def giveUp(self, asking: Deferred[Answer]) -> None:
        asking.addErrback(lambda failure: None)
        asking.cancel()

    def why(self, asking: Deferred[Answer]) -> str:
        return str(self.failureResultOf(asking, VerifierError).value)

    def test_asked(self) -> None:
        """It is asked by GET for its path and query, under its own name, with the headers that were given."""
        asking = self.ask(Cookie="a=b")
        self.assertEqual(self.reactor.tcpClients[0][:2], ("127.0.0.1", 9000))
        connection = self.accept()
        head, *lines = connection.asked.split(b"\r\n")
        self.assertEqual(head, b"GET /verify?a=b HTTP/1.1")
        self.assertLessEqual({b"Host: 127.0.0.1:9000", b"Cookie: a=b"}, set(lines))
        self.assertNoResult(asking)
        connection.say(WHOLE)
        answer = self.successResultOf(asking)
        self.assertEqual((answer.status, answer.headers.getRawHeaders("x-who")), (200, ["me"]))

    def test_kept(self) -> None:
        """The next question goes the same way, which is kept for a while and then closed."""
        asking = self.ask()
        connection = self.accept()
        connection.say(WHOLE)
        self.successResultOf(asking)
        self.reactor.advance(20)
        asking = self.ask()
        self.assertEqual(self.reactor.tcpClients, [])
        connection.say(WHOLE)
        self.successResultOf(asking)
        self.reactor.advance(31)
        self.assertTrue(connection.transport.aborted)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_closed(self) -> None:
        """Ways that are kept can be closed."""
        asking = self.ask()
        connection = self.accept()
        connection.say(WHOLE)
        self.successResultOf(asking)
        closing = self.verifier.close()
        connection.lose()
        self.successResultOf(closing)
        self.assertEqual((connection.transport.aborted, self.reactor.getDelayedCalls()), (True, []))

    def test_whole(self) -> None:
        """An answer counts once all of it is there, however it is split, and however it says where it ends."""
        for body in (b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"):
            for size in (1, 7, 1000):
                self.verifier = self.make()
                asking = self.ask()
                connection = self.accept()
                connection.say((OK + body)[:-1], size)
                self.assertNoResult(asking)
                self.assertEqual(connection.transport.producerState, "producing")
                connection.say((OK + body)[-1:])
                self.assertEqual(self.successResultOf(asking).status, 200)

    def test_oldWhole(self) -> None:
        """One that ends with its connection, as small servers say it, is whole then."""
        asking = self.ask()
        connection = self.accept()
        connection.say(b"HTTP/1.0 200 OK\r\n\r\nwelcome")
        self.assertNoResult(asking)
        connection.lose()
        self.assertEqual(self.successResultOf(asking).status, 200)

    def test_broken(self) -> None:
        """Half of one is none."""
        for half in (b"", OK, OK + b"Content-Length: 3\r\n\r\nab", OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab"):
            self.verifier = self.make()
            asking = self.ask()
            connection = self.accept()
            connection.say(half)
            connection.lose()
            self.assertIn("it breaks off", self.why(asking))

    def test_late(self) -> None:
        """It has so many seconds for all of it, and no more for a part; then its connection is cut."""
        for half in (b"", OK, BEGUN):
            self.verifier = self.make()
            asking = self.ask()
            connection = self.accept()
            self.reactor.advance(ANSWER_TIMEOUT - 0.1)
            connection.say(half)
            self.assertNoResult(asking)
            self.reactor.advance(0.2)
            self.assertTrue(connection.transport.aborted)
            connection.lose(ConnectionAborted())
            self.assertEqual(self.why(asking), "no answer within 5 s")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_unconnected(self) -> None:
        """Nor for a connection."""
        asking = self.ask()
        self.reactor.advance(ANSWER_TIMEOUT + 0.1)
        self.assertEqual(self.why(asking), "no answer within 5 s")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """A port that is closed is told as what it is."""
        asking = self.ask()
        factory = self.reactor.tcpClients.pop(0)[2]
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.reactor.advance(1)  # other addresses would have had their turn
        self.assertEqual(self.why(asking), "it refuses connections")

    def test_longHead(self) -> None:
        """A head that does not end is cut off."""
        asking = self.ask()
        connection = self.accept()
        connection.say(OK + b"X: y\r\n" * (HEAD_LIMIT // 6 + 1000), 1000)
        self.assertIn("its answer is too long", self.why(asking))
        self.assertTrue(connection.transport.aborted)

    def test_longBody(self) -> None:
        """So is a body, whether it says its length or not; one of the longest that may be is fine."""
        for end, size, good in (
            (b"Content-Length: %d\r\n\r\n" % BODY_LIMIT, BODY_LIMIT, True),
            (b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT + 1), BODY_LIMIT + 1, False),
            (b"\r\n", BODY_LIMIT + 1, False),
            (b"X: " + b"y" * 16000 + b"\r\n\r\n", BODY_LIMIT + 1, False),
        ):
            self.verifier = self.make()
            asking = self.ask()
            connection = self.accept()
            connection.say(OK + end + b"x" * size)
            if good:
                self.assertEqual(self.successResultOf(asking).status, 200)
            else:
                self.assertIn("its answer is too long", self.why(asking))
                self.assertTrue(connection.transport.aborted)

    def test_again(self) -> None:
        """What one answer took of the limits, the next one has again."""
        for _ in range(4):
            asking = self.ask()
            if self.reactor.tcpClients:
                connection = self.accept()
            connection.say(OK + b"X: y\r\n" * (HEAD_LIMIT // 8) + b"Content-Length: 60000\r\n\r\n" + b"x" * 60000)
            self.successResultOf(asking)

    def test_turns(self) -> None:
        """So many at a time; others have their turn when one of these is answered, gives up, or fails."""
        first, second, third, fourth = (self.ask() for _ in range(4))
        self.assertEqual(len(self.reactor.tcpClients), 2)
        one, two = self.accept(), self.accept()
        one.say(WHOLE)
        self.successResultOf(first)
        self.assertIn(b"GET /verify", one.asked[10:])
        second.cancel()
        self.assertTrue(two.transport.aborted)
        two.lose(ConnectionAborted())
        self.failureResultOf(second)
        self.assertEqual(len(self.reactor.tcpClients), 1)
        one.say(WHOLE)
        self.successResultOf(third)
        self.giveUp(fourth)

    def test_allKept(self) -> None:
        """As many connections are kept as there are turns."""
        self.verifier = self.make(turns=5)
        for connections in (5, 0):
            asking = [self.ask() for _ in range(5)]
            self.assertEqual(len(self.reactor.tcpClients), connections)
            if connections:
                made = [self.accept() for _ in asking]
            for connection in made:
                connection.say(WHOLE)
            for each in asking:
                self.successResultOf(each)

    def test_given(self) -> None:
        """Who waits no longer for the rest of an answer has none, and its connection is cut."""
        asking = self.ask()
        connection = self.accept()
        connection.say(BEGUN)
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertTrue(connection.transport.aborted)

    def test_queue(self) -> None:
        """And so many wait; beyond, there is no answer at once. Who waits no longer leaves room."""
        self.verifier = self.make(turns=1, queue=1)
        first, second, third = (self.ask() for _ in range(3))
        self.assertEqual(self.why(third), "too many wait for it already")
        second.cancel()
        self.failureResultOf(second, CancelledError)
        fourth = self.ask()
        self.assertNoResult(fourth)
        self.accept().say(WHOLE)
        self.successResultOf(first)
        self.giveUp(fourth)
