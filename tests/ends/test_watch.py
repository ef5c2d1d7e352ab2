"""Transports that are paused, and the one timer that looks after them."""

from __future__ import annotations

import socket

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.ends.contract import KINDS
from wsproxy.ends.watch import INTERVAL, Watch


class FakeWatched:
    """Keeps what it is told. @param fails: raises it as well."""

    watch: Watch | None = None

    def __init__(self, connection: socket.socket, fails: bool = False) -> None:
        self._socket = connection
        self._fails = fails
        self.told: list[bool] = []
        self.aborted = False

    @property
    def descriptor(self) -> int:
        return self._socket.fileno()

    def hangUp(self, gone: bool) -> None:
        self.told.append(gone)
        if self._fails:
            raise ZeroDivisionError

    def abort(self) -> None:
        self.aborted = True


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.watch = Watch(self.clock)

    def pair(self, fails: bool = False) -> tuple[FakeWatched, socket.socket]:
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        end: FakeWatched = self.watch.adopt(FakeWatched(ours, fails))
        self.assertIs(end.watch, self.watch)
        self.watch.add(end)
        return end, theirs

    def test_tells(self) -> None:
        """Whose peer has ended or is gone is told so, the others are not, whatever there is to be read."""
        there, peer = self.pair()
        peer.send(b"not read")
        half, peer = self.pair()
        peer.shutdown(socket.SHUT_WR)
        gone, peer = self.pair()
        peer.close()
        self.clock.advance(INTERVAL)
        self.assertEqual((there.told, half.told, gone.told), ([], [False], [True]))

    def test_timer(self) -> None:
        """There is one timer for all, and none when all are read."""
        ends = [self.pair()[0] for _ in range(3)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for end in ends:
            self.watch.remove(end)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closed(self) -> None:
        """One whose socket is no more is passed over."""
        end, peer = self.pair()
        end._socket.close()
        other, peer = self.pair()
        peer.close()
        self.clock.advance(INTERVAL)
        self.assertEqual((end.told, other.told), ([], [True]))

    def test_failure(self) -> None:
        """One that fails is dropped, and the others are told all the same, again and again."""
        failing, peer = self.pair(fails=True)
        peer.close()
        other, peer = self.pair()
        peer.close()
        self.clock.pump([INTERVAL] * 2)
        self.assertTrue(failing.aborted)
        self.assertEqual(other.told, [True, True])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_failsAgain(self) -> None:
        """One that cannot even be dropped is asked once, whatever it raises."""
        for kind in KINDS:

            def fault(*_: object, kind: type[BaseException] = kind) -> None:
                raise kind

            failing, peer = self.pair()
            failing.hangUp = failing.abort = fault  # type: ignore[method-assign]
            peer.close()
            other, peer = self.pair()
            peer.close()
            self.clock.pump([INTERVAL] * 2)
            self.assertEqual(other.told, [True, True])
            self.assertEqual(len(self.flushLoggedErrors(kind)), 1)
            self.watch.remove(other)
            self.assertEqual(self.clock.getDelayedCalls(), [])
