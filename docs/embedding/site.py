"""Consoles on a path of a web site that is there already: its pages, forms and other methods stay as they are.

Run it with ``twistd -ny docs/embedding/site.py``, open http://localhost:8080/, and connect to ws://localhost:8080/console/.
"""

from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application, MultiService
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import Request as ServerRequest
from twisted.web.server import Site
from twisted.web.static import Data

from wsproxy import WebSockifyFactory, WebSockifyResource, WebSockifyService
from wsproxy.errors import Refusal
from wsproxy.interfaces import Identity, Request

CONSOLES = {"red": "localhost:5901", "blue": "unix:/run/consoles/blue"}


# what Twisted has not typed yet
DATA: Any = Data
ENDPOINT: Any = serverFromString
RESOURCE: Any = Resource
SERVICE: Any = StreamServerEndpointService
SERVICES: Any = MultiService
SITE: Any = Site


class Wishes(Resource):
    """A form: whatever the proxy does, POST goes on here."""

    isLeaf = True

    def render_POST(self, request: ServerRequest) -> bytes:
        assert request.content is not None
        wish: bytes = request.content.read()
        return b"noted: " + wish


def makeSite(reactor: Any, consoles: dict[str, str] = CONSOLES) -> tuple[Site, WebSockifyFactory]:
    def resolve(request: Request, identity: Identity | None) -> str:
        target = consoles.get(request.path.removeprefix("/console/"))
        if target is None:
            raise Refusal(403, "No such console")
        return target

    factory = WebSockifyFactory(reactor, resolver=resolve)
    root: Any = RESOURCE()
    root.putChild(b"", DATA(b"<title>Consoles</title><p>red, blue", "text/html"))
    root.putChild(b"wishes", Wishes())  # type: ignore[no-untyped-call]
    root.putChild(b"console", WebSockifyResource(factory))
    return SITE(root, reactor=reactor), factory


def makeService(reactor: Any, listen: str = "tcp:8080", consoles: dict[str, str] = CONSOLES) -> Any:
    """The site listens; beside it a service that listens nowhere closes its sessions at the end, with code 1001."""
    site, factory = makeSite(reactor, consoles)
    both = SERVICES()
    SERVICE(ENDPOINT(reactor, listen), site).setServiceParent(both)
    both.addService(WebSockifyService(reactor, factory, []))
    return both


if __name__ == "builtins":  # twistd -y runs a file under this name
    from twisted.internet import reactor

    application = Application("site")  # type: ignore[no-untyped-call]
    makeService(reactor).setServiceParent(application)
