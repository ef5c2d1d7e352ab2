"""Who has guessed how often, as far as one process knows: credentials and tokens that were tried, and were wrong."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

__all__ = ["ALLOWED", "REMEMBERED", "WINDOW", "Guesses", "Verdict"]

ALLOWED = 10
"""Wrong guesses in each L{WINDOW} that a client is told of."""

WINDOW = 300.0
"""Seconds."""

REMEMBERED = 10_000
"""Clients; who has guessed longest ago is forgotten first. They take 4 MB."""


class Verdict(NamedTuple):
    """
    @ivar told: whether the client may be told that this guess was wrong.
    @ivar wait: seconds until it may guess again; 0 for now.
    """

    told: bool
    wait: float


class _Guesser:
    """@ivar until: until when it may not guess, as somebody else has said."""

    __slots__ = ("times", "until")

    def __init__(self) -> None:
        self.times: tuple[float, ...] = ()
        self.until = 0.0


class Guesses:
    """
    @param seconds: the time, for durations.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()

    def __len__(self) -> int:
        return len(self._guessers)

    def wait(self, client: str) -> float:
        """@return: seconds until this client may guess again; 0 for now."""
        guesser = self._guessers.get(client)
        return 0.0 if guesser is None else self._wait(guesser, self._seconds())

    def count(self, client: str) -> Verdict:
        """This client has guessed, and was wrong."""
        now = self._seconds()
        guesser = self._guesser(client)
        if self._wait(guesser, now):
            return Verdict(False, self._wait(guesser, now))
        guesser.times = (*(time for time in guesser.times if time > now - WINDOW), now)
        return Verdict(True, self._wait(guesser, now))

    def block(self, client: str, wait: float) -> None:
        """Somebody else says that this client may not guess for so many seconds."""
        self._guesser(client).until = self._seconds() + wait

    def blocked(self) -> Iterator[tuple[str, float]]:
        """@return: who may not guess, and for how many seconds."""
        now = self._seconds()
        for client, guesser in self._guessers.items():
            wait = self._wait(guesser, now)
            if wait:
                yield client, wait

    def state(self) -> list[Any]:
        """@return: all of it, as JSON can say it, for another one whose clock is the same."""
        return [[client, list(guesser.times), guesser.until] for client, guesser in self._guessers.items()]

    def resume(self, state: list[Any]) -> None:
        """Know what another one knew."""
        for client, times, until in state:
            guesser = self._guesser(client)
            guesser.times, guesser.until = tuple(times), until

    def _guesser(self, client: str) -> _Guesser:
        guesser = self._guessers.get(client)
        if guesser is None:
            while len(self._guessers) >= REMEMBERED:
                self._guessers.popitem(last=False)
            guesser = self._guessers[client] = _Guesser()
        else:
            self._guessers.move_to_end(client)
        return guesser

    def _wait(self, guesser: _Guesser, now: float) -> float:
        times = guesser.times
        own = times[-ALLOWED] + WINDOW - now if len(times) >= ALLOWED else 0.0
        return max(own, guesser.until - now, 0.0)
