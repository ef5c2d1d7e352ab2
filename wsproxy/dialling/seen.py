"""A reactor that looks at each address before it connects: for those who connect by themselves.

Twisted's endpoint strings resolve names and make their attempts on their own, and have nowhere to put a question in
between. But all of them connect by the reactor that they were given::

    clientFromString(SeenReactor, "tcp:name:80") ─► resolves ─► connectTCP("192.0.2.7", 80) ─► looked at ─► the reactor
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import directlyProvides, providedBy

from wsproxy.access.reach import Reach
from wsproxy.dialling.attempt import isLiteral

__all__ = ["SEEN", "SeenReactor"]

SEEN = ("tcp", "ssl")
"""Prefixes of endpoint strings that connect to where they say, and nowhere else by other means."""


class SeenReactor:
    """
    Another reactor, but for what it connects to.

    @param text: of the target, for what cannot be seen.
    @param named: whether whoever named it may name sockets.
    """

    def __init__(self, reactor: Any, reach: Reach, text: str, named: bool) -> None:
        self._reactor = reactor
        self._reach = reach
        self._text = text
        self._named = named
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(self, host: str, port: int, *args: Any, **named: Any) -> Any:
        """@raise NotAllowed: that must not be dialled."""
        return self._connect(self._reactor.connectTCP, host, port, *args, **named)

    def connectSSL(self, host: str, port: int, *args: Any, **named: Any) -> Any:
        """@raise NotAllowed: that must not be dialled."""
        return self._connect(self._reactor.connectSSL, host, port, *args, **named)

    def connectUNIX(self, address: str, *args: Any, **named: Any) -> Any:
        """@raise NotAllowed: that must not be dialled."""
        self._reach.checkUnseen(self._text)
        self._reach.checkSocket(address, self._named)
        return self._reactor.connectUNIX(address, *args, **named)

    def _connect(self, connect: Callable[..., Any], host: str, port: int, *args: Any, **named: Any) -> Any:
        if isLiteral(host):
            self._reach.checkAddress(host, port)
        else:
            self._reach.checkUnseen(self._text)
        return connect(host, port, *args, **named)
