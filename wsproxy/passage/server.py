"""C{websocket:} endpoint strings: any Twisted service listens over WebSocket, unchanged.

::

    websocket:tcp\\:6080\\:interface=127.0.0.1:path=/ssh:origin=https\\://example.com

What listens is a L{WebSockifyFactory<wsproxy.factory.WebSockifyFactory>}, whose every session leads to a protocol of
the service's factory, in this process.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.access.resolver import FixedResolver
from wsproxy.authentication.basic import BasicAuthenticator, Passwords
from wsproxy.authentication.hashing import HashedPasswords
from wsproxy.authentication.htpasswd import HtpasswdFile
from wsproxy.config import TLSConfig
from wsproxy.errors import ConfigError, DialError, Refusal
from wsproxy.escape import escape
from wsproxy.factory import WebSockifyFactory
from wsproxy.interfaces import Identity, IDialer, Request, Target
from wsproxy.passage.arguments import Arguments
from wsproxy.passage.pair import pair
from wsproxy.sessions.routes import plainPath
from wsproxy.sessions.session import OpenSession
from wsproxy.tls.server import ServerTLS
from wsproxy.websocket.closed import ending

__all__ = ["WebSocketServerEndpoint", "parseServer"]

_serverFromString: Callable[[Any, str], IStreamServerEndpoint] = serverFromString  # it has no types


@implementer(IStreamServerEndpoint)
class WebSocketServerEndpoint:
    """
    @param endpoint: where to listen.
    @param options: keywords of L{WebSockifyFactory<wsproxy.factory.WebSockifyFactory>}.
    """

    def __init__(self, reactor: Any, endpoint: IStreamServerEndpoint, **options: Any) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._options = options

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        return maybeDeferred(self._listen, protocolFactory)

    def _listen(self, service: IProtocolFactory) -> Deferred[IListeningPort]:
        return self._endpoint.listen(ServiceFactory(self._reactor, service, **self._options))


class ServiceFactory(WebSockifyFactory):
    """
    Sessions lead to protocols of C{service}, whose transports may be taken for TCP's, and have C{session} besides.

    @param path: the only one that there is, decoded; L{None}: any.
    """

    def __init__(self, reactor: Any, service: IProtocolFactory, *, path: str | None = None, **options: Any) -> None:
        where = FixedResolver(Target(type(service).__name__))
        resolver = where if path is None else _OnPath(path, where)
        super().__init__(reactor, resolver=resolver, dialer=_ServiceDialer(reactor, service), **options)
        self._service = service

    def startFactory(self) -> None:
        super().startFactory()
        self._service.doStart()

    def stopFactory(self) -> None:
        super().stopFactory()
        self._service.doStop()


class _OnPath:
    def __init__(self, path: str, where: FixedResolver) -> None:
        self._path = path
        self._where = where

    def resolve(self, request: Request, identity: Identity | None) -> Target:
        try:
            asked = plainPath(request.path)
        except Refusal:
            asked = None
        if asked != self._path:
            raise Refusal(404, "Not found", cause=f"only {self._path} is there")
        return self._where.resolve(request, identity)


@implementer(IDialer)
class _ServiceDialer:
    def __init__(self, reactor: Any, service: IProtocolFactory) -> None:
        self._reactor = reactor
        self._service = service

    def dial(self, session: Any, factory: IProtocolFactory) -> Any:
        protocol = self._service.buildProtocol(session.request.client)
        if protocol is None:
            raise DialError("Service takes no connections")
        target = factory.buildProtocol(session.request.host)
        near, far = pair(self._reactor, session, lambda: _ended(session))
        near.connect(target)
        far.connect(protocol)
        return target


def _ended(session: OpenSession) -> Failure | None:
    """Why a session has ended that was not ended by the service."""
    how = session.ending
    return None if how is None or how.by == "target" else ending(how.close)


def parseServer(reactor: Any, *words: str, **named: str) -> WebSocketServerEndpoint:
    """
    What follows C{websocket:}.

    @raise ConfigError: it makes no sense.
    """
    # Twisted takes what is before the first = for a name, be the colons in it escaped or not
    inside = [f"{name}={named.pop(name)}" for name in tuple(named) if ":" in name]
    arguments = Arguments("websocket:", (*words, *inside), named, ("endpoint",))
    try:
        return _endpoint(reactor, arguments)
    except ConfigError as error:
        raise ConfigError(_OPTION.sub(_asArgument, str(error))) from None


_OPTION = re.compile(r"^(?:websocket: )?--([a-z]+)(?:-([a-z])([a-z]*))? ")


def _asArgument(option: re.Match[str]) -> str:
    """C{--trusted-proxy x} of a complaint is C{trustedProxy=x} here."""
    first, initial, rest = option.groups("")
    return f"websocket: {first}{initial.upper()}{rest}="


def _endpoint(reactor: Any, arguments: Arguments) -> WebSocketServerEndpoint:
    inner = arguments.take("endpoint")
    if inner is None:
        raise arguments.error(r"where to listen? websocket:tcp\:6080")
    options = _options(arguments, reactor)
    arguments.finish()
    ServiceFactory(reactor, Factory(), pump=False, **options)  # complains now, not when it is listened with
    return WebSocketServerEndpoint(reactor, _serverFromString(reactor, inner), **options)


def _options(arguments: Arguments, reactor: Any) -> dict[str, Any]:
    options = {
        "path": _path(arguments),
        "origins": arguments.listed("origin"),
        "subprotocols": arguments.tokens("subprotocol"),
        "trustedProxies": arguments.listed("trustedProxy"),
        "allow": arguments.listed("allow"),
        "text": arguments.flag("text"),
        "heartbeat": arguments.seconds("heartbeat"),
        "authenticator": _authenticator(arguments, reactor),
        "tls": _tls(arguments),
    }
    given = {name: value for name, value in options.items() if value is not None}
    return given | {"tlsOnly": "tls" in given}


def _path(arguments: Arguments) -> str | None:
    """@return: decoded, as requests are compared with it."""
    path = arguments.take("path")
    if path is None:
        return None
    try:
        plain = plainPath(quote(path, safe="/%"))
    except Refusal:
        plain = ""
    if not plain.startswith("/") or "?" in path or "#" in path:
        raise arguments.error(f"path={escape(path)}: expected /PATH, without . and .. and //, and without a query")
    return plain


def _authenticator(arguments: Arguments, reactor: Any) -> Any:
    user, password, path = arguments.filled("user"), arguments.secret("password"), arguments.filled("htpasswd")
    if (user is None) != (password is None) or (user is not None and path is not None):
        raise arguments.error("user= and password=, or htpasswd=")
    if path is not None:
        try:
            return BasicAuthenticator(HashedPasswords(HtpasswdFile(path), reactor))
        except ConfigError as error:
            raise arguments.error(f"htpasswd={path}: {str(error).rpartition(': ')[2]}") from None
    return None if user is None else BasicAuthenticator(Passwords(f"{user}:{password}", "password="))


def _tls(arguments: Arguments) -> ServerTLS | None:
    certificate, key = arguments.filled("cert"), arguments.filled("key")
    if key is not None and certificate is None:
        raise arguments.error("key= needs cert=; without a certificate there is no TLS")
    return None if certificate is None else ServerTLS(TLSConfig(certificate, key))
