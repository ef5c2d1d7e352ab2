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
        that is none, C{request.publicHost} what it connected to.
    """

    def __init__(self, allows: Callable[[Request], bool]) -> None:
        self._allows = allows

    def enter(self, request: Request) -> None:
        if request.page or not request.path:  # what speaks plain TCP comes from no page
            return
        if not self._allows(request):
            raise Refusal(403, "Origin not allowed", cause="origins=, a callable, says no")

    def refused(self, request: Request, refusal: Refusal) -> None:
        """By others."""
