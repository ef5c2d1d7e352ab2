"""What the garbage collector need not look at."""

from __future__ import annotations

import gc

from twisted.internet.interfaces import IReactorCore

__all__ = ["passOverStart"]


def passOverStart(reactor: IReactorCore) -> None:
    """
    Have the collector pass over all that there is when the reactor runs: modules, classes, settings. None of it ever
    becomes garbage, and to go through it now and then took 5 per cent of a connection (C{make bench}, I{connections}).

    For a process of our own: an embedder may want to see what its start has left.
    """
    reactor.callWhenRunning(gc.freeze)
