"""A connection that becomes something else: how it passes from hand to hand.

::

    accept ─► Switch ─► HTTP ─► PendingUpgrade ─► TransportEnd
                 └────────┴───────────┴─► Lingering

Each arrow is one call of L{Connection.become}, and goes one way: whoever has handed a connection on has no further part
in it. Of such connections there are two kinds: the L{Switch<wsproxy.frontend.switch.Switch>} of a port of ours, and the
L{SiteConnection<wsproxy.frontend.site.SiteConnection>} of any other port that twisted.web serves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IProtocol

from wsproxy.interfaces import Forwarded

__all__ = ["Connection", "Leave"]


class Connection(Protocol):
    """One that can be handed on.

    @ivar secure: whether it is inside of TLS.
    @ivar named: who its client is, where a header of the PROXY protocol has said so.
    """

    secure: bool
    named: Forwarded | None

    def become(self, protocol: IProtocol, early: bytes = b"") -> None:
        """Hand the connection to C{protocol}, and C{early} bytes with it."""

    def linger(self, words: bytes = b"") -> None:
        """Write these and close, reading on for a while so that all that was written arrives."""


Leave = Callable[[Any], tuple[Connection, bytes]]
"""
Has HTTP take no further part in the connection of a request, which is never answered then. Only from within C{render},
before anything asynchronous.

@return: the connection, and what arrived behind the request.
"""
