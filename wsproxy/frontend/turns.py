"""Clients that come all at once get in one after the other, while sessions that are there have their turns in between.

After a lost network, or when a proxy in front is started again, thousands connect at the same moment. To shake hands
with one over TLS takes half a millisecond, and to let it in as much again. The event loop would do all that for whoever
has said something before it looks at a session again; and clients who have waited for seconds go, among them those with
whom hands are half shaken, for nothing. So these steps wait once they have taken L{SLICE} seconds together, and go on
in the next turn of the event loop::

    client ─► first bytes ─► new: TLS or HTTP ──┐                       ┌─► for SLICE seconds ─► the rest next turn
                             begun: HTTP in TLS ┴─► begun before new ───┘

What waits costs no time of the client's: its deadline begins with the step. One that is gone by then is passed over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from wsproxy.fault import logFault

__all__ = ["SLICE", "Turns"]

SLICE = 0.002
"""Seconds of such steps until others have their turn: two to four of them."""

_APART = 0.001
"""Seconds without any, after which others have had it."""

Step = Callable[[], None]


class Turns:
    """
    Steps, which are taken at once where there is nothing to wait for, as is usual: that costs two looks at the clock.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._began = self._ended = 0.0
        self._begun: deque[Step] = deque()
        self._new: deque[Step] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._begun) + len(self._new)

    def take(self, step: Step, begun: bool) -> bool:
        """
        Call C{step}, now or in its turn.

        @param begun: it is not the first one for this client: it goes before those.
        @return: whether it has been called.
        """
        now = self._clock.seconds()
        if now - self._ended > _APART:
            self._began = now
        if self.waiting or now - self._began >= SLICE:
            if not self.waiting:
                self._clock.callLater(0, self._go)
            (self._begun if begun else self._new).append(step)
            return False
        try:
            step()
        finally:
            self._ended = self._clock.seconds()
        return True

    def _go(self) -> None:
        self._began = now = self._clock.seconds()
        while self.waiting and now - self._began < SLICE:
            step = (self._begun or self._new).popleft()
            try:
                step()
            except BaseException:  # the others still wait
                logFault(self._log, "letting a client in")
            now = self._clock.seconds()
        self._ended = now
        if self.waiting:
            self._clock.callLater(0, self._go)
