"""An embedder's own word on which pages may connect."""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import implementer

from wsproxy.errors import Refusal
from wsproxy.interfaces import IGate, Request

__all__ = ["OriginGate"]


@implementer(IGate)
class OriginGate:
    """
    @param allows: asked about each upgrade, at once; C{request.headers.get("origin")} is the page, L{None} for a client
        that is none, C{request.publicHost} what it connected to. What is no L{bool} is a mistake, and lets
        nobody in.
    """

    def __init__(self, allows: Callable[[Request], bool]) -> None:
        self._allows = allows

    def enter(self, request: Request) -> None:
        if request.page or not request.path:  # what speaks plain TCP comes from no page
            return
        allowed = self._allows(request)
        if type(allowed) is not bool:  # a coroutine is true, whatever comes of it
            raise TypeError(f"origins=, a callable, answered {type(allowed).__name__}, at once True or False is wanted")
        if not allowed:
            raise Refusal(403, "Origin not allowed", cause="origins=, a callable, says no")

    def refused(self, request: Request, refusal: Refusal) -> None:
        """By others."""
