"""What dialling needs of a reactor."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import (
    IProtocolFactory,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
)
from zope.interface import Interface

__all__ = ["IAdoptingReactor", "IConnectingReactor", "IDiallingReactor", "IRacingReactor", "IResolvingReactor"]


class IConnectingReactor(IReactorTCP, IReactorFDSet):
    """
    Connects to an address: by itself, or where it watches sockets by watching one. As all of these it is for
    annotations: reactors provide what it consists of, and do not say that they provide it.
    """


class IRacingReactor(IConnectingReactor, IReactorTime):
    """Connects to whichever of several addresses is first."""


class IResolvingReactor(IReactorPluggableNameResolver, IReactorTime, IReactorFromThreads):
    """Has a resolver of names, or lets one work."""


class IAdoptingReactor(Interface):
    """C{IReactorSocket}, of which Twisted tells less than is so: any factory will do, and the transport comes back."""

    def adoptStreamConnection(fileDescriptor: int, addressFamily: int, factory: IProtocolFactory) -> Any:
        """@return: the transport of a duplicate of this socket; L{None} where the factory builds no protocol."""


class IDiallingReactor(IRacingReactor, IResolvingReactor, IAdoptingReactor, IReactorUNIX):
    """Dials every kind of target."""
