"""What the contract does not ask of a pumped TLS end: OpenSSL that waits, and a pyOpenSSL that we do not know."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

from OpenSSL import SSL
from twisted.internet.abstract import FileDescriptor
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection as Connection_
from twisted.internet.testing import MemoryReactor
from twisted.protocols.tls import BufferingTLSTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.ends.contract import Recorder
from wsproxy.ends import securetransport, transport
from wsproxy.ends.epollset import LESS, QUIET
from wsproxy.ends.pump import Pump
from wsproxy.ends.secureend import SecureEnd
from wsproxy.ends.securetransport import SecureTransport
from wsproxy.ends.socketend import SocketEnd
from wsproxy.ends.transport import TransportEnd


class Connection:
    """
    Stands in for OpenSSL, which cannot be made to wait for one thing in particular.

    @ivar answers: what the next calls of C{send} raise; then they succeed.
    @ivar offered: what C{send} was given, each time.
    @ivar notified: how often it was told to say close_notify.
    """

    def __init__(self) -> None:
        self.answers: list[SSL.Error] = []
        self.offered: list[bytes] = []
        self.notified = 0
        self.incoming = b""

    def send(self, data: Any) -> int:
        self.offered.append(bytes(data))
        if self.answers:
            raise self.answers.pop(0)
        return len(data)

    def shutdown(self) -> None:
        self.notified += 1

    def pending(self) -> int:
        return 0

    def recv_into(self, view: memoryview) -> int:
        if not self.incoming:
            raise SSL.WantReadError
        data, self.incoming = self.incoming[: len(view)], self.incoming[len(view) :]
        view[: len(data)] = data
        return len(data)


class WaitingTests(SynchronousTestCase):
    """Writing that cannot go on at once."""

    def setUp(self) -> None:
        self.socket, self.peer = socket.socketpair()
        self.addCleanup(self.socket.close)
        self.addCleanup(self.peer.close)
        self.connection = Connection()
        self.aborted: list[bool] = []
        raw = SimpleNamespace(getHandle=lambda: self.socket, abortConnection=lambda: self.aborted.append(True))
        transport: Any = SimpleNamespace(transport=raw, leave=lambda left, _: left(self.connection))
        waiting: Any = SimpleNamespace(transport=transport, greeting=b"", start=lambda receiver, paused: None)
        reactor: Any = MemoryReactor()
        self.end = SecureEnd(Pump(reactor), waiting, transport)
        self.recorder = Recorder()
        self.end.start(self.recorder.receiver())
        self.addCleanup(self.end._letGo)

    def test_room(self) -> None:
        """OpenSSL that waits for room is given the same bytes once there is some, and then those that came after."""
        payload = bytes(range(256)) * 256
        scratch = bytearray(payload)
        self.connection.answers = [SSL.WantWriteError()]
        self.end.write([b"header", memoryview(scratch)])
        self.assertTrue(self.end.congested)
        scratch[:] = bytes(len(scratch))
        self.end.write([b"behind"])
        first = self.connection.offered.pop()
        self.connection.answers = [SSL.WantWriteError()]
        self.end.flush()
        self.assertEqual(self.connection.offered, [first])
        self.assertTrue(self.end.congested)
        self.end.flush()
        self.assertEqual(b"".join(self.connection.offered[1:]), b"header" + payload + b"behind")
        self.assertEqual(self.recorder.events, ["drained"])

    def test_input(self) -> None:
        """OpenSSL that has to read before it can write goes on when something has come, even to a paused end."""
        self.connection.answers = [SSL.WantReadError()]
        self.end.pause()
        self.end.write([b"waits"])
        self.assertTrue(self.end.congested)
        self.assertEqual(self.end.events, 1)  # EPOLLIN, and not EPOLLOUT, which would be told over and over
        self.end.read()
        self.assertEqual(self.connection.offered, [b"waits", b"waits"])
        self.assertEqual(self.recorder.events, ["drained"])
        self.assertEqual(self.end.events, QUIET)

    def test_unwritable(self) -> None:
        """A peer that takes no more is still read, and nobody is told that there was room."""
        self.connection.answers = [SSL.SysCallError(32, "EPIPE")]
        self.end.write([b"x"])
        self.end.write([b"y"])
        self.assertEqual(self.connection.offered, [b"x"])
        self.assertTrue(self.end.congested)
        self.connection.incoming = b"last words"
        self.end.read()
        self.assertEqual(self.recorder.received, b"last words")
        self.assertEqual((self.recorder.events, self.aborted), ([], []))

    def test_congestedReadsLess(self) -> None:
        """What one read brings is less while the end owes its own peer something."""
        self.connection.answers = [SSL.WantReadError()]
        self.end.write([b"waits"])
        self.connection.answers = [SSL.WantReadError()]
        self.connection.incoming = bytes(2 * LESS)
        self.end.read()
        self.assertEqual(len(self.recorder.received), LESS)

    def test_closesOnce(self) -> None:
        """close_notify goes behind what is queued, once, whoever asks how often; nothing is written after it."""
        self.connection.answers = [SSL.WantWriteError()]
        self.end.write([b"waits"])
        self.end.finish()
        self.end.close()
        self.end.write([b"dropped"])
        self.assertEqual(self.connection.notified, 0)
        self.end.flush()
        self.end.close()
        self.end.finish()
        self.assertEqual((self.connection.offered, self.connection.notified), ([b"waits", b"waits"], 1))
        self.end.pause()
        self.assertEqual(self.end.events, QUIET)

    def test_leavesOnce(self) -> None:
        """There is no half of TLS: a peer that leaves something to be read is gone, which is told once."""
        self.end.pause()
        self.peer.send(b"last words")
        self.end.hangUp(False)
        self.end.hangUp(True)
        self.assertEqual(self.recorder.events, ["is gone"])

    def test_nothing(self) -> None:
        """OpenSSL is not asked to write nothing."""
        self.end.write([b"", b""])
        self.assertEqual(self.connection.offered, [])


class MovableTests(SynchronousTestCase):
    """Whether OpenSSL can be given the socket."""

    def test_known(self) -> None:
        """The pyOpenSSL of these tests is one that can be pumped."""
        self.assertTrue(securetransport._movable)
        self.assertTrue(securetransport._tryOut())

    def test_changed(self) -> None:
        """A pyOpenSSL that is made differently is found out."""
        self.patch(SSL, "_lib", SimpleNamespace())
        self.assertFalse(securetransport._tryOut())

    def test_unmoved(self) -> None:
        """A pyOpenSSL whose connections stay with their buffers is found out."""
        self.patch(securetransport, "_moveOnto", lambda connection, sock: None)
        self.assertFalse(securetransport._tryOut())

    def test_noWayBack(self) -> None:
        """And one whose connections cannot go on in memory."""
        self.patch(securetransport, "detour", lambda connection: None)
        self.assertFalse(securetransport._tryOut())

    def test_knownTwisted(self) -> None:
        """The Twisted of these tests is one whose transports can be left."""
        self.assertTrue(securetransport._leavable)
        self.assertTrue(securetransport._tryOutTwisted())
        self.assertTrue(transport.releasable)
        self.assertTrue(transport._tryOut())

    def test_changedTwisted(self) -> None:
        """One that is made differently is found out."""
        self.patch(SecureTransport, "connectionLost", lambda self, reason: self._tlsConnection.bio_shutdown())
        self.assertFalse(securetransport._tryOutTwisted())
        self.patch(FileDescriptor, "doWrite", lambda self: None)
        self.assertFalse(transport._tryOut())

    def test_madeInShort(self) -> None:
        """Transports of this Twisted can be made in short; of one that makes them differently they are not."""
        self.assertTrue(securetransport._alike)
        self.assertTrue(securetransport._tryOutMaking())
        makeConnection = BufferingTLSTransport.makeConnection

        def otherwise(made: Any, beneath: Any) -> None:
            makeConnection(made, beneath)
            made.state = "new"

        self.patch(BufferingTLSTransport, "makeConnection", otherwise)
        self.assertFalse(securetransport._tryOutMaking())

    def test_unknown(self) -> None:
        """With one that is not known, sessions stay with their transports."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        reactor: Any = MemoryReactor()
        protocol: Any = Protocol()
        raw = Connection_(ours, protocol, reactor)
        raw.connected = 1
        self.addCleanup(ours.close)
        plain, secure = TransportEnd(), TransportEnd()
        plain.transport = raw
        secure.transport = SecureTransport.__new__(SecureTransport)
        secure.transport.transport = raw
        pump = Pump(reactor)
        self.assertIsInstance(pump.adopt(plain), SocketEnd)
        self.assertIsInstance(pump.adopt(secure), SecureEnd)
        for module, name in ((securetransport, "_movable"), (securetransport, "_leavable"), (transport, "releasable")):
            patch = self.patch(module, name, False)
            self.assertIs(pump.adopt(secure), secure)
            patch.restore()
        raw.connected = 0
        self.assertIs(pump.adopt(plain), plain)
        raw.connected = 1
        self.patch(transport, "releasable", False)
        self.assertIs(pump.adopt(plain), plain)
