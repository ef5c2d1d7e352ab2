"""Whether a client is still there, by what it says and by what its kernel says.

A sign of life is a byte of the client's, or that its kernel acknowledges what the target sent; of a client that is held
back, and cannot be heard, that it acknowledges the ping. Silence counts from a ping that the kernel could take, or
where the kernel asks by itself and gets no answer: a client that merely reads slowly, or not at all, is not silent.
"""

from __future__ import annotations

from wsproxy.ends.end import End

__all__ = ["Pulse"]

LIMIT = 2
"""Intervals of silence, in a row."""


class Pulse:
    """That of one client.

    @ivar alive: whether there was a sign of life since the last beat; for others to set.
    @ivar pinged: whether there is a ping on its way, or with the client; for others to set.
    @ivar roundTrip: seconds from a ping until its pong, the last time: with what waited in front of either, as its user
        feels it. L{None} where no pong has come yet.
    @ivar answers: how many pongs that were asked for have come.
    """

    __slots__ = ("_asked", "_carried", "_silent", "alive", "answers", "pinged", "roundTrip")

    def __init__(self) -> None:
        self.alive = self.pinged = False
        self.roundTrip: float | None = None
        self.answers = 0
        self._asked: float | None = None
        self._silent = 0
        self._carried = 0

    def beat(self, client: End, held: bool, carried: int) -> bool:
        """
        An interval has passed.

        @param held: whether the client is not being read.
        @param carried: bytes that the target has sent it so far.
        @return: whether it is lost.
        """
        silent = not self.alive and self._isSilent(client, held, carried)
        self._silent = self._silent + 1 if silent else 0
        self._carried = carried
        self.alive = False
        if client.congested and not silent:
            self.pinged = False  # nor will it be, this time
        return self._silent >= LIMIT

    def asked(self, now: float) -> None:
        """A ping is on its way. Of several without an answer the first counts."""
        self.pinged = True
        if self._asked is None:
            self._asked = now

    def answered(self, now: float) -> None:
        """A pong has come; one that nobody has asked for (RFC 6455 section 5.5.3) says nothing of the way."""
        if self._asked is not None:
            self.roundTrip = now - self._asked
            self.answers += 1
            self._asked = None

    def _isSilent(self, client: End, held: bool, carried: int) -> bool:
        """Whether the client, of whom no byte has come, has not acknowledged anything either."""
        if client.unsent():
            return client.unanswered()
        return self.pinged and not held and self._carried == carried
