"""The embedder's way in beside other resources: a path of somebody else's L{Site<twisted.web.server.Site>}."""

from __future__ import annotations

from twisted.web.resource import IResource

from wsproxy.factory import WebSockifyFactory
from wsproxy.frontend.site import UpgradeResource

__all__ = ["WebSockifyResource"]


class WebSockifyResource(UpgradeResource):
    """
    Opens a session for each GET that asks for a WebSocket, on its path and whatever is below: a leaf in a tree of
    resources, what Klein returns for a route, or the root. The Site keeps its other paths, and methods, to itself.

    Of C{factory} it takes the sessions and all that decides about them; that need not listen anywhere. TLS, limits on
    requests and their logs are the Site's.

    @param others: what all other requests see, whatever their method; L{None} to answer them 405.
    """

    def __init__(self, factory: WebSockifyFactory, others: IResource | None = None) -> None:
        super().__init__(factory.clock, factory.sessions, others, factory.doors)
