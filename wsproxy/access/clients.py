"""Which clients may come in at all, by their addresses: C{--allow}."""

from __future__ import annotations

from collections.abc import Iterable

from zope.interface import implementer

from wsproxy.access.networks import Networks
from wsproxy.errors import Refusal
from wsproxy.interfaces import IGate, Request

__all__ = ["OPTION", "AllowedClients"]

OPTION = "--allow"


@implementer(IGate)
class AllowedClients:
    """
    It goes by the real client, behind proxies in front that are trusted.

    @param texts: the values of C{--allow}.
    @raise ConfigError: one of them is no L{Networks<wsproxy.access.networks.Networks>}.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._networks = Networks(texts, OPTION)

    def enter(self, request: Request) -> None:
        if not self._networks.contains(request.client):
            raise Refusal(403, "Client not allowed", cause=_cause(request))

    def refused(self, request: Request, refusal: Refusal) -> None:
        """Of no interest: nobody is shut out for what he has tried."""


def _cause(request: Request) -> str:
    if request.forwarded is None and "x-forwarded-for" in request.headers:
        return "its address is not in --allow; of a proxy in front? --trusted-proxy believes its X-Forwarded-For"
    return "its address is not in --allow"
