"""What one process has counted since it began. An observer of sessions, of refusals, and of TLS handshakes.

Nothing here is told of a message: bytes are what tunnels know anyhow, looked at when somebody asks. A snapshot is of
what JSON can say, so that those of several processes are added up by L{added}.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from zope.interface import implementer

from wsproxy.errors import CloseCode
from wsproxy.interfaces import Ending, IObserver, Session
from wsproxy.metrics.histogram import BOUNDS, Histogram
from wsproxy.metrics.reasons import reasonOf

__all__ = ["RESULTS", "Counts", "abandoned", "added", "nothing", "resultOf"]

RESULTS = ("completed", "closed", "failed", "lost", "unreachable")
"""What sessions came to: C{completed} by their client or target in good order; C{closed} by the proxy, which drains,
revokes or waits no longer; C{failed}: somebody broke the protocol, or we did; C{lost}: somebody is gone without a word;
C{unreachable}: there never was a target."""

_LOST = frozenset({CloseCode.ABNORMAL, CloseCode.HEARTBEAT_LOST})
_FAILED = frozenset(
    {CloseCode.PROTOCOL_ERROR, CloseCode.UNSUPPORTED_DATA, CloseCode.INVALID_DATA, CloseCode.INTERNAL_ERROR}
)
_CODES = frozenset(int(code) for code in CloseCode)


def resultOf(ending: Ending, reached: bool) -> str:
    """
    @param reached: whether its target was connected.
    @return: one of L{RESULTS}.
    """
    code = ending.close.code
    if not reached and ending.by == "target":
        return "unreachable"
    if code in _LOST or (ending.by == "target" and code == CloseCode.INTERNAL_ERROR):
        return "lost"
    if code in _FAILED:
        return "failed"
    return "closed" if ending.by == "proxy" else "completed"


def _label(code: int) -> str:
    """Clients may close with any of 2,000 codes (RFC 6455 section 7.4.2), of which the known ones are labels."""
    return str(int(code)) if code in _CODES else "other"


@implementer(IObserver)
class Counts:
    """
    Counts.

    @ivar changed: called when there is something new, beside what open sessions carry.
    """

    def __init__(self) -> None:
        self.changed: Callable[[], object] = lambda: None
        self.histograms = {name: Histogram(bounds) for name, bounds in BOUNDS.items()}
        self._closed: Counter[tuple[str, str]] = Counter()
        self._refusals: Counter[str] = Counter()
        self._up = self._down = self._opened = 0

    def opened(self, session: Session) -> None:
        self._opened += 1
        self.changed()

    def closed(self, session: Session, ending: Ending) -> None:
        reached: float | None = getattr(session, "reached", None)
        self._closed[resultOf(ending, reached is not None), _label(ending.close.code)] += 1
        self._up += ending.up
        self._down += ending.down
        self.histograms["session_duration"].add(ending.seconds)
        if reached is not None:
            self.histograms["target_connect"].add(reached)
        self.changed()

    def refused(self, status: int, reason: str) -> None:
        """See L{RefusalLog<wsproxy.access.refusallog.RefusalLog>}'s C{counted}."""
        self._refusals[reasonOf(status, reason)] += 1
        self.changed()

    def shaken(self, seconds: float) -> None:
        """A TLS handshake took so long."""
        self.histograms["tls_handshake"].add(seconds)
        self.changed()

    def snapshot(self, up: int = 0, down: int = 0) -> dict[str, Any]:
        """
        All of it so far. It only ever grows.

        @param up: bytes that open sessions have carried, which are not counted here yet; as C{down}.
        """
        closed: dict[str, dict[str, int]] = {}
        for (result, code), count in self._closed.items():
            closed.setdefault(result, {})[code] = count
        return {
            "opened": self._opened,
            "closed": closed,
            "refusals": dict(self._refusals),
            "up": self._up + up,
            "down": self._down + down,
            "histograms": {name: each.plain() for name, each in self.histograms.items()},
        }


def nothing() -> dict[str, Any]:
    """@return: the snapshot of a process that has counted nothing yet."""
    return Counts().snapshot()


def abandoned(last: Mapping[str, Any]) -> dict[str, Any]:
    """
    @param last: the last snapshot of a process that was killed, or of any other, whose sessions have all ended.
    @return: that those that it had are lost; their clients have seen no close frame. How long they were nobody knows.
    """
    left = last["opened"] - sum(count for codes in last["closed"].values() for count in codes.values())
    return {"closed": {"lost": {_label(CloseCode.ABNORMAL): left}}} if left > 0 else {}


def added(one: Any, other: Any) -> Any:
    """@return: the sum of two snapshots, or of parts of them. Neither is changed."""
    if isinstance(one, Mapping):
        whole = {**one, **other}
        return {name: added(one[name], other[name]) if name in one and name in other else whole[name] for name in whole}
    if isinstance(one, list):
        return [added(*pair) for pair in zip(one, other, strict=True)]
    return one + other
