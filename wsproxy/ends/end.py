"""One side of a tunnel: the contract between the tunnel and whatever moves its bytes.

An end moves bytes and knows neither frames nor the other end. The tunnel reads from it through a L{Receiver} and
writes to it until it says it is C{congested}; then it waits for C{drained}. Every implementation passes
C{tests.ends.contract}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from wsproxy.interfaces import Buffer

__all__ = ["Buffer", "End", "Receiver", "ignore"]


def ignore(*_: object) -> None:
    """For a L{Receiver} to whom something is of no interest."""


class Receiver(NamedTuple):
    """What an end tells the tunnel. No call is made before L{End.start} nor after C{lost}."""

    received: Callable[[Buffer], None]
    """Bytes arrived, in order. A C{memoryview} is valid only during the call."""

    ended: Callable[[], None]
    """The peer will send nothing more, and all it sent was received; writing may still work. At most once."""

    drained: Callable[[], None]
    """The end was C{congested} and is no longer: all that was written is with the kernel."""

    lost: Callable[[Exception | None], None]
    """The end is gone in both directions: C{None} after an orderly close, else what happened. Exactly once."""

    leaving: Callable[[bool], None] = ignore
    """
    Told of a paused end: the peer will send nothing more, but what it sent before is still to be read. C{True} where
    it may still read, C{False} when it is gone; each once at most. Where nothing is left to be read C{ended} or C{lost}
    is told instead, paused or not.
    """


class End(Protocol):
    """One side of a tunnel."""

    @property
    def congested(self) -> bool:
        """
        Whether writers should wait for C{drained}. What is written meanwhile is queued, never refused. For good, once
        the peer has made known that it takes no more.
        """

    def start(self, receiver: Receiver) -> None:
        """Begin to read. Called once."""

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Queue these bytes, in order. The end keeps no C{memoryview} past the call. Ignored once closing or lost."""

    def pause(self) -> None:
        """Stop reading until L{resume}; what the end has read already may still arrive."""

    def resume(self) -> None:
        """Read again. Harmless when not paused."""

    def finish(self) -> None:
        """Send end-of-file after what is queued and go on reading; where half-closing is impossible, L{close}."""

    def close(self) -> None:
        """Close both directions after what is queued. C{lost} follows, unless the peer stalls: see L{abort}."""

    def abort(self) -> None:
        """Close now, dropping what is queued. C{lost} follows."""

    def sendAt(self, rate: float) -> None:
        """The peer takes so many bytes a second, and no more is to wait for it in the kernel than that needs."""

    def receiveAt(self, rate: float) -> bool:
        """
        The same of what the peer sends: so many bytes a second are read; 0 before it has sent anything.

        @return: whether no more is to wait from now on; else to be told again, when the peer has sent all it may.
        """

    def queued(self) -> int:
        """Bytes that were written, and that the kernel has not: what C{drained} is about."""

    def unsent(self) -> int:
        """Bytes handed to the kernel which the peer has not acknowledged (Linux C{SIOCOUTQ}); 0 where unknown."""

    def unanswered(self) -> bool:
        """
        Whether the kernel has sent something again, or asked for room, and the peer's kernel has not said a word since
        (Linux C{TCP_INFO}); L{False} where unknown. A peer that merely does not read is not meant: its kernel answers.
        """
