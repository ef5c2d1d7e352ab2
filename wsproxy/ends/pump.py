"""Who moves the bytes of a connection: a socket is taken from its transport, and pumped, where that can be.

Linux only; elsewhere, and with C{--no-pump}, the L{TransportEnd} serves.
"""

from __future__ import annotations

import select

from twisted.internet.interfaces import IReactorFDSet, IReactorTime

from wsproxy.ends.end import End
from wsproxy.ends.epollset import EpollSet
from wsproxy.ends.secureend import SecureEnd
from wsproxy.ends.securetransport import SecureTransport
from wsproxy.ends.socketend import SocketEnd
from wsproxy.ends.transport import TransportEnd, isBare
from wsproxy.ends.watch import Watch

__all__ = ["IPumpReactor", "Pump"]


class IPumpReactor(IReactorFDSet, IReactorTime):
    """What a pump needs of a reactor, for annotations: reactors say of each of the two alone that they provide it."""


class Pump(EpollSet):
    """An L{Adopter<wsproxy.ends.watch.Adopter>} for whom a connection is its socket, with TLS or without.

    @param reactor: watches the private epoll set while there is anything in it.
    """

    def __init__(self, reactor: IPumpReactor) -> None:
        super().__init__(reactor)
        self._watch = Watch(reactor)

    @staticmethod
    def available(reactor: object) -> bool:
        """Whether this machine and this reactor can pump."""
        return hasattr(select, "epoll") and IReactorFDSet.providedBy(reactor)

    def adopt(self, end: TransportEnd) -> End:
        """@return: an end that pumps this one's socket; C{end} itself where its transport is more than a socket."""
        transport = end.transport
        if isinstance(transport, SecureTransport) and transport.leavable:
            return SecureEnd(self, end, transport)
        return SocketEnd(self, end, transport) if isBare(transport) else self._watch.adopt(end)
