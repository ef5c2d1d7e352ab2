"""What the contract does not ask of a pumped socket: events that cross each other, and how much is read at a time."""

from __future__ import annotations

import select
import socket
from functools import partial
from types import SimpleNamespace
from typing import Any

from twisted.internet.testing import MemoryReactor
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.ends.contract import KINDS, MEGABYTE, Recorder
from wsproxy.ends import epollset
from wsproxy.ends.epollset import BUFFER, LESS, QUIET, EpollSet
from wsproxy.ends.socketend import SocketEnd


def raising(kind: type[BaseException]) -> Any:
    def fault(*_: object) -> None:
        raise kind("secret")

    return fault


class Transport:
    """Stands in for a transport that has nothing left to send, and closes when it is told to."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.aborted = self.closed = False

    def getHandle(self) -> socket.socket:
        return self._socket

    def abortConnection(self) -> None:
        self.aborted = True

    def connectionLost(self, reason: object) -> None:
        self.closed = True


class PumpTestCase(SynchronousTestCase):
    """A pump whose rounds a test makes itself."""

    def setUp(self) -> None:
        reactor: Any = MemoryReactor()
        self.pump = EpollSet(reactor)
        self.addCleanup(self.pump._epoll.close)

    def pair(self) -> tuple[SocketEnd, Recorder, socket.socket]:
        """An end that has been started, what it tells, and its peer."""
        ours, theirs = socket.socketpair()
        for each in (ours, theirs):
            self.addCleanup(each.close)
            each.setblocking(False)
        transport: Any = Transport(ours)
        released: Any = SimpleNamespace(greeting=b"", release=lambda released, lost: released() or b"")
        end, recorder = SocketEnd(self.pump, released, transport), Recorder()
        end.start(recorder.receiver())
        return end, recorder, theirs

    def congest(self, end: SocketEnd) -> None:
        while not end.congested:
            end.write([MEGABYTE])


class RoundTests(PumpTestCase):
    """What a round of the pump makes of its events."""

    def close(self, end: SocketEnd, transports: list[Any], closedBefore: list[int]) -> None:
        closedBefore.append(sum(transport.closed for transport in transports))
        end.close()

    def test_endedMeanwhile(self) -> None:
        """Events of a socket that an earlier event of the same round has ended are passed over."""
        pairs = [self.pair() for _ in range(2)]
        for (_, recorder, peer), (other, _, _) in zip(pairs, reversed(pairs), strict=True):
            recorder.onReceived = other.abort
            peer.send(b"x")
        self.pump.doRead()
        self.assertEqual(sorted(bytes(recorder.received) for _, recorder, _ in pairs), [b"", b"x"])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_raises(self) -> None:
        """One that raises, whatever that is, is given up, and the others are served in the same round."""
        for kind in KINDS:
            pairs = [self.pair() for _ in range(3)]
            pairs[1][1].onReceived = raising(kind)
            for _, _, peer in pairs:
                peer.send(b"x")
            self.pump.doRead()
            self.assertEqual([end._transport.aborted for end, _, _ in pairs], [False, True, False])  # type: ignore[attr-defined]
            self.assertEqual([bytes(recorder.received) for _, recorder, _ in pairs], [b"x"] * 3)
            self.assertEqual(len(self.flushLoggedErrors(kind)), 1)

    def test_raisesAgain(self) -> None:
        """One that cannot be given up is watched no more, whatever observers of the log make of it."""
        for kind in KINDS:
            (end, recorder, peer), (_, other, otherPeer) = self.pair(), self.pair()
            recorder.onReceived = end._transport.abortConnection = observer = raising(kind)  # type: ignore[method-assign]
            globalLogPublisher.addObserver(observer)
            self.addCleanup(globalLogPublisher.removeObserver, observer)
            peer.send(b"x")
            otherPeer.send(b"x")
            self.pump.doRead()
            globalLogPublisher.removeObserver(observer)
            self.assertEqual(end.events, 0)
            self.assertEqual(other.received, b"x")
            self.flushLoggedErrors(kind)

    def test_closes(self) -> None:
        """What ends in a round has its socket closed in that round, when the events that came together are over."""
        for kind in KINDS:
            pairs = [self.pair() for _ in range(3)]
            transports: list[Any] = [end._transport for end, _, _ in pairs]
            closedBefore: list[int] = []
            for end, recorder, peer in pairs:
                recorder.onReceived = partial(self.close, end, transports, closedBefore)
                peer.send(b"x")
            transports[0].connectionLost = raising(kind)
            self.pump.doRead()
            self.assertEqual([bytes(recorder.received) for _, recorder, _ in pairs], [b"x"] * 3)
            self.assertEqual([transport.closed for transport in transports], [False, True, True])
            self.assertEqual(closedBefore, [0, 0, 0])
            self.assertEqual(len(self.flushLoggedErrors(kind)), 1)

    def test_congestedReadsLess(self) -> None:
        """What one read brings is bounded, and further while the end owes its own peer something."""
        for congested, most in ((False, BUFFER), (True, LESS)):
            end, recorder, peer = self.pair()
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                peer.setsockopt(socket.SOL_SOCKET, option, 2 * BUFFER)
            if congested:
                self.congest(end)
            self.assertGreater(peer.send(MEGABYTE), LESS)
            end.read()
            self.assertLessEqual(len(recorder.received), most)
            self.assertEqual(len(recorder.received) > LESS, not congested)

    def test_othersReadFirst(self) -> None:
        """
        Each read brings less while there are others that say little, as many of them as say much is not enough: that
        is the other side of each of those. When they fall silent it brings as much as before.
        """
        self.patch(epollset, "REVIEW", 0)
        pairs = [self.pair() for _ in range(5)]
        talkers, quiet = pairs[:2], pairs[2:]

        def most(*others: Any) -> int:
            for _ in range(3):
                for _, _, peer in talkers:
                    peer.send(bytes(LESS))
                for _, _, peer in others:
                    peer.send(b"x")
                self.pump.doRead()
            return self.pump.most

        self.assertEqual(most(*quiet[:2]), BUFFER)
        self.assertEqual(most(*quiet), LESS)
        end, recorder, peer = talkers[0]
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            peer.setsockopt(socket.SOL_SOCKET, option, 2 * BUFFER)
        recorder.received.clear()
        self.assertGreater(peer.send(MEGABYTE), LESS)
        end.read()
        self.assertEqual(len(recorder.received), LESS)
        self.assertEqual(most(), BUFFER)

    def test_budget(self) -> None:
        """What both ends of a session may queue is a quarter of a megabyte."""
        self.assertLessEqual(BUFFER + LESS, 256 * 1024)


class LeavingTests(PumpTestCase):
    """A peer that leaves something to be read."""

    def test_once(self) -> None:
        """Each step of its leaving is told of once, and none after the next."""
        end, recorder, peer = self.pair()
        end.pause()
        peer.send(b"last words")
        for gone in (False, False, True, True, False):
            end.hangUp(gone)
        self.assertEqual(recorder.events, ["leaves", "is gone"])
        self.assertEqual(recorder.received, b"")

    def test_readAfterwards(self) -> None:
        """What it left is read, and then its end, of which nothing more is told."""
        end, recorder, peer = self.pair()
        end.pause()
        peer.send(b"last words")
        peer.shutdown(socket.SHUT_WR)
        self.pump.doRead()
        end.resume()
        self.pump.doRead()
        self.pump.doRead()
        self.assertEqual((recorder.received, recorder.events), (b"last words", ["leaves", "ended"]))
        self.assertEqual(end.events, QUIET)


class UnwritableTests(PumpTestCase):
    """A peer that takes no more, which shows when something is written."""

    def setUp(self) -> None:
        super().setUp()
        self.end, self.recorder, self.peer = self.pair()

    def deafen(self) -> None:
        self.end._socket.shutdown(socket.SHUT_WR)

    def assertDeaf(self) -> None:
        """Nobody is told that there was room, and the connection is not dropped."""
        self.assertTrue(self.end.congested)
        self.assertFalse(self.end._transport.aborted)
        self.assertEqual(self.recorder.events, [])

    def test_writing(self) -> None:
        """What it sent before that is still read, and then how it ended."""
        self.peer.send(b"last words")
        self.deafen()
        self.end.write([b"x"])
        self.assertDeaf()
        self.end.write([b"y"])
        self.pump.doRead()
        self.assertEqual(self.recorder.received, b"last words")
        self.assertDeaf()
        self.peer.close()
        self.pump.doRead()
        self.assertEqual(self.recorder.events, ["ended"])

    def test_flushing(self) -> None:
        """So it is where something had to wait for room, which nothing waits for any more."""
        self.end.pause()
        self.congest(self.end)
        self.assertTrue(self.end.events & select.EPOLLOUT)
        self.deafen()
        self.end.flush()
        self.assertDeaf()
        self.assertEqual(self.end.events, QUIET)
        self.end.write([b"dropped"])
        self.end.pause()
        self.assertEqual(self.end.events, QUIET)
        self.peer.send(b"last words")
        self.end.resume()
        self.pump.doRead()
        self.assertEqual(self.recorder.received, b"last words")
