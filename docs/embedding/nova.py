"""A console proxy in the manner of OpenStack Nova: a token leads to a console, once it was found in a database.

A browser shows its token in the query, or in a cookie, which whoever serves its page sets. The database says where the
console is, whose it is, and until when the token is good. Some consoles are behind a gateway, which is asked to
CONNECT.

Run it with ``twistd -ny docs/embedding/nova.py``; the table below is in ``consoles.sqlite``, made where it is missing.
"""

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from twisted.application.service import Application
from twisted.enterprise.adbapi import ConnectionPool

from wsproxy import WebSockifyFactory, WebSockifyService
from wsproxy.errors import DialError, Refusal
from wsproxy.interfaces import Conversation, Identity, Request, Target

TABLE = """
CREATE TABLE IF NOT EXISTS tokens (
    token TEXT PRIMARY KEY, user TEXT, host TEXT, port INTEGER, access_path TEXT, expires REAL, origin TEXT
)"""

FIND = "SELECT user, host, port, access_path, expires, origin FROM tokens WHERE token = ? AND expires > ?"

# the same for a token that never was and one that is over
NO_TOKEN = "Token not accepted"


def tokenOf(request: Request) -> str:
    """
    noVNC asks for ``?path=%3Ftoken%3DTOKEN`` with its page, and for ``/?token=TOKEN`` with its WebSocket; and the page
    may have left it in a cookie.
    """
    inPath = parse_qs(urlsplit(request.query.get("path", "")).query).get("token", [""])[0]
    return request.query.get("token") or inPath or request.cookies.get("token", "")


class Consoles:
    """Authenticates, resolves and negotiates: all three know the console by its token."""

    def __init__(self, database: Any) -> None:
        self._database = database

    async def authenticate(self, request: Request) -> Identity:
        found: Any = await self._database.runQuery(FIND, (tokenOf(request), time.time()))
        if not found:
            raise Refusal(403, NO_TOKEN, guess=True)
        user, host, port, path, expires, origin = found[0]
        if request.headers.get("origin") not in (None, origin):
            raise Refusal(403, "Origin not allowed", cause=f"this console is opened from {origin}")
        return Identity(user, {"host": host, "port": port, "path": path}, expires=expires)

    def resolve(self, request: Request, identity: Identity | None) -> Target:
        assert identity is not None
        claims = identity.claims
        return Target(f"{claims['host']}:{claims['port']}", expires=identity.expires, claims=claims)

    async def negotiate(self, client: Conversation, target: Conversation) -> None:
        path = target.session.target.claims["path"]
        if not path:
            return
        target.write(f"CONNECT {path} HTTP/1.1\r\n\r\n".encode())
        answer = await target.readUntil(b"\r\n\r\n", 8192)
        if b" 200 " not in answer.partition(b"\r\n")[0]:
            raise DialError("The console's gateway says no")


def makeService(reactor: Any, listen: str = "6080", file: str = "consoles.sqlite") -> WebSockifyService:
    pool: Any = ConnectionPool  # which has no types yet
    database = pool("sqlite3", file, check_same_thread=False, cp_reactor=reactor)
    database.runOperation(TABLE)
    consoles = Consoles(database)
    factory = WebSockifyFactory(
        reactor,
        authenticator=consoles,
        resolver=consoles,
        negotiate=consoles,
        origins=("*",),  # each console has its own
        handshakeTimeout=5.0,
    )
    return WebSockifyService(reactor, factory, [listen], drain=5.0)


if __name__ == "builtins":  # twistd -y runs a file under this name
    from twisted.internet import reactor

    application = Application("consoles")  # type: ignore[no-untyped-call]
    makeService(reactor).setServiceParent(application)  # type: ignore[no-untyped-call]
