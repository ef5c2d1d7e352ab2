"""An end over TLS whose client sends while it is behind: OpenSSL goes on in memory, and comes back to its socket."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

from OpenSSL import SSL
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import selfSigned
from tests.ends.contract import Recorder
from wsproxy.ends.pump import Pump
from wsproxy.ends.secureend import SecureEnd
from wsproxy.ends.securetransport import rejoin

CERTIFICATE: Any = PrivateCertificate.loadPEM(selfSigned("localhost").both).options()


class Raw:
    """Stands in for the transport that the end leaves the closing to."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.told: list[str] = []

    def getHandle(self) -> socket.socket:
        return self._socket

    def connectionLost(self, reason: object) -> None:
        self.told.append("closed")

    def abortConnection(self) -> None:
        self.told.append("aborted")


class DetourTests(SynchronousTestCase):
    """Over real sockets and OpenSSL, with rounds of the pump that the test makes itself."""

    def setUp(self) -> None:
        ours, self.theirs = socket.socketpair()
        for each in (ours, self.theirs):
            self.addCleanup(each.close)
            each.setblocking(False)
        server = SSL.Connection(CERTIFICATE.getContext(), ours)
        server.set_accept_state()
        self.client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), self.theirs)
        self.client.set_connect_state()
        self.shakeHands(server, self.client)
        rejoin(server, ours)
        self.raw = Raw(ours)
        transport: Any = SimpleNamespace(transport=self.raw, leave=lambda left, _: left(server))
        waiting: Any = SimpleNamespace(transport=transport, greeting=b"", start=lambda receiver, paused: None)
        reactor: Any = MemoryReactor()
        self.pump = Pump(reactor)
        self.addCleanup(self.pump._epoll.close)
        self.end = SecureEnd(self.pump, waiting, transport)
        self.recorder = Recorder()
        self.end.start(self.recorder.receiver())
        self.addCleanup(self.end._letGo)
        self.sent = bytearray()
        self.taken = bytearray()
        self.told = False  # the client, that there is no more

    def shakeHands(self, *connections: SSL.Connection) -> None:
        for _ in range(4):
            for connection in connections:
                try:
                    connection.do_handshake()
                except SSL.WantReadError:
                    continue

    def write(self, data: bytes) -> None:
        self.sent += data
        self.end.write([data])

    def fall(self) -> None:
        """Behind: more was written than the client takes, whose part it is now to say something."""
        while not self.end.congested:
            self.write(bytes(range(256)) * 600)
        self.write(b"queued")
        self.client.send(b"question")
        self.pump.doRead()
        self.assertEqual(self.recorder.received, b"question")
        self.assertTrue(self.end.congested)
        self.assertIsNotNone(self.end._memory)

    def take(self) -> None:
        """The client reads what it is sent, until there is no more, or it is told that there will be none."""
        for _ in range(1000):
            try:
                while True:
                    self.taken += self.client.recv(1 << 16)
            except SSL.WantReadError:
                if len(self.taken) == len(self.sent):
                    return
            except SSL.ZeroReturnError:
                self.told = True
                return
            self.pump.doRead()
        self.fail("it never came")

    def test_order(self) -> None:
        """Nothing is lost or overtaken in either direction, and what comes later goes by the socket again."""
        self.fall()
        self.client.send(b" and another")
        self.pump.doRead()
        self.assertEqual(self.recorder.received, b"question and another")
        self.take()
        self.assertEqual(self.taken, self.sent)
        self.pump.doRead()
        self.assertEqual((self.recorder.events, self.end.congested), (["drained"], False))
        self.assertIsNone(self.end._memory)
        self.write(b"later")
        self.client.send(b"!")
        self.take()
        self.pump.doRead()
        self.assertEqual((self.taken, self.recorder.received), (self.sent, b"question and another!"))

    def test_again(self) -> None:
        """It may fall behind more than once."""
        for _ in range(3):
            self.fall()
            self.recorder.received.clear()
            self.take()
        self.assertEqual(self.taken, self.sent)

    def test_close(self) -> None:
        """To close is to say so behind all that waits, in memory too, and to end when the client has said it."""
        self.fall()
        self.end.close()
        self.end.write([b"too late"])
        self.assertFalse(self.told)
        while not self.told:
            self.take()
            self.pump.doRead()
        self.assertEqual((self.taken, self.raw.told), (self.sent, []))
        self.client.shutdown()
        self.pump.doRead()
        self.assertEqual((self.recorder.events[-1], self.raw.told), ("ended", ["closed"]))

    def test_clientCloses(self) -> None:
        """A client that says that it is done is told all, and then as much."""
        self.fall()
        self.client.shutdown()
        self.pump.doRead()
        self.assertEqual((self.recorder.events, self.raw.told), (["ended"], []))
        while not self.told:
            self.take()
            self.pump.doRead()
        self.assertEqual((self.taken, self.raw.told), (self.sent, ["closed"]))

    def test_cutOff(self) -> None:
        """One that is gone without a word is an error, and nobody is told that there was room."""
        self.fall()
        self.theirs.close()
        self.pump.doRead()
        self.assertEqual((self.recorder.events, self.raw.told), ([], ["closed"]))
        self.end._gone(None)
        self.assertEqual(self.recorder.events, ["lost"])
        self.assertIsNotNone(self.recorder.error)
