"""A Twisted service of one's own with the proxy in it: many consoles behind one port, chosen by path.

Run it with ``twistd -ny docs/embedding/consoles.py`` and open ``ws://localhost:6080/console/red``.
"""

from typing import Any

from twisted.application.service import Application
from zope.interface import implementer

from wsproxy import WebSockifyFactory, WebSockifyService
from wsproxy.errors import Refusal
from wsproxy.interfaces import IAuthenticator, Identity, IResolver, Request, Target

CONSOLES = {"red": "localhost:5901", "blue": "unix:/run/consoles/blue"}


@implementer(IAuthenticator)
class Passwords:
    """Knows clients by HTTP Basic credentials; a method may as well return a Deferred or be a coroutine."""

    async def authenticate(self, request: Request) -> Identity:
        if request.headers.get("authorization") != "Basic b3BlcmF0b3I6c2VjcmV0":
            raise Refusal(401, "Please log in", (("WWW-Authenticate", 'Basic realm="consoles"'),))
        return Identity("operator")


@implementer(IResolver)
class ConsoleByPath:
    """Leads ``/console/NAME`` to that console."""

    def __init__(self, consoles: dict[str, str]) -> None:
        self._consoles = consoles

    def resolve(self, request: Request, identity: Identity | None) -> Target:
        target = self._consoles.get(request.path.removeprefix("/console/"))
        if target is None:
            raise Refusal(403, "No such console")
        return Target(target)


def makeService(reactor: Any, listen: str = "6080", consoles: dict[str, str] = CONSOLES) -> WebSockifyService:
    """It ends in good order: it takes no more clients, then it closes those that are here, with code 1001."""
    factory = WebSockifyFactory(reactor, resolver=ConsoleByPath(consoles), authenticator=Passwords())
    return WebSockifyService(reactor, factory, [listen])


if __name__ == "builtins":  # twistd -y runs a file under this name
    from twisted.internet import reactor

    application = Application("consoles")  # type: ignore[no-untyped-call]
    makeService(reactor).setServiceParent(application)  # type: ignore[no-untyped-call]
