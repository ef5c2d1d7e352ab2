"""What is said in the log of clients that were turned away: who, why, and what cures it.

Whoever reaches the port can be refused as often as he likes, so what is written is bounded: for each peer and reason a
few lines a minute, and for each peer some more, should strangers have a say in the reasons; then it is counted how many
were left out. So is what is remembered, since a stranger has more addresses than this process has memory. A peer is an
address without its port, in IPv6 a /64, which is the least that one customer is given (RFC 6177).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger

from wsproxy.access.peer import printable, unmapped, whom
from wsproxy.escape import escape

__all__ = ["LINES", "PEER_LINES", "REMEMBERED", "WINDOW", "RefusalLog"]

LINES = 5
"""Lines in each L{WINDOW} for one peer and reason."""

PEER_LINES = 30
"""Lines in each L{WINDOW} for one peer."""

WINDOW = 60.0
"""Seconds."""

REMEMBERED = 1024
"""Pairs of a peer and a reason; the oldest are forgotten first."""

_CAUSE_LENGTH = 600
"""Characters. Values of strangers are cut to much less before, so that it is never the cure that is cut off."""

_VARIOUS = "refused for various reasons"

_UNSPOKEN = "offers only subprotocols that are not accepted here"

_NAMES, _NAME_LENGTH = 5, 50
"""How many subprotocols are named, and characters of each."""


@dataclass(slots=True)
class _Window:
    """What was written of one peer for one reason since C{started}, and what was not."""

    started: float
    lines: int = 0
    left: int = 0


class RefusalLog:
    """One line for each refusal, a few a minute for each peer and reason.

    @param clock: for the minutes.
    @ivar counted: called with the status and the reason of each, for whoever counts all of them; with 0 where a client
        was not answered in HTTP, and what is said of it instead.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._windows: OrderedDict[tuple[str, str], _Window] = OrderedDict()
        self.counted: Callable[[int, str], object] | None = None

    def refused(
        self, peer: IAddress, status: int, reason: str, cause: str = "", client: IAddress | None = None
    ) -> None:
        """
        A client was turned away.

        @param client: who that is behind the C{peer}, a proxy in front; L{None}: the C{peer}.
        @param reason: what it read; each is counted by itself.
        @param cause: for the log alone: what was wrong, and what cures it.
        """
        if self.counted is not None:
            self.counted(status, reason)
        what = f"refused: {status} {escape(reason)}"
        text = f"{what}: {escape(cause, _CAUSE_LENGTH)}" if cause else what
        self.note(peer, what, text, client, status=status, reason=reason, cause=cause)

    def unspoken(self, peer: IAddress, offered: Sequence[str], client: IAddress | None = None) -> None:
        """A client is let in without a subprotocol, though it offered these: browsers then drop the connection."""
        names = ", ".join(escape(name, _NAME_LENGTH) for name in offered[:_NAMES])
        cure = f"browsers drop a session without one; accept it with --subprotocol {escape(offered[0], _NAME_LENGTH)}"
        self.note(peer, _UNSPOKEN, f"{_UNSPOKEN}: {names}{', …' if len(offered) > _NAMES else ''}; {cure}", client)

    def note(self, peer: IAddress, kind: str, text: str, client: IAddress | None = None, **fields: object) -> None:
        """
        Say something of a client, if not too much of this C{kind} was said already.

        @param kind: what is said instead of those that are left out.
        @param text: one line, fit for the log.
        @param client: see L{refused}.
        @param fields: for observers that want more than text.
        """
        self._forgetOver()
        client = peer if client is None else client
        name = _name(client)
        whole = self._window(name, _VARIOUS)
        window = whole if whole.lines >= PEER_LINES else self._window(name, kind)
        if window is whole or window.lines >= LINES:
            window.left += 1
            return
        window.lines += 1
        whole.lines += 1
        self._log.info("{peer} {text}", peer=whom(client, peer), text=text, **fields)

    def _window(self, peer: str, kind: str) -> _Window:
        key = peer, kind
        window = self._windows.get(key)
        if window is None:
            while len(self._windows) >= REMEMBERED:
                self._end()
            window = self._windows[key] = _Window(self._clock.seconds())
        return window

    def flush(self) -> None:
        """Say what was left out so far, and begin anew."""
        while self._windows:
            self._end()

    def _forgetOver(self) -> None:
        over = self._clock.seconds() - WINDOW
        while self._windows and next(iter(self._windows.values())).started <= over:
            self._end()

    def _end(self) -> None:
        """Close the oldest window."""
        (peer, kind), window = self._windows.popitem(last=False)
        if window.left:
            self._log.info("{peer} {kind} ({count} times more)", peer=peer, count=window.left, kind=kind)


def _name(peer: IAddress) -> str:
    """Whom the lines are counted for."""
    peer = unmapped(peer)
    match peer:
        case IPv6Address():
            return str(IPv6Network((peer.host.partition("%")[0], 64), strict=False))
        case IPv4Address():
            return str(peer.host)
        case HostnameAddress():
            return printable(peer).rpartition(":")[0]
        case _:
            return printable(peer)
