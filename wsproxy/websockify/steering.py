"""Where sessions lead, and how they get there, by the handlers of somebody's program."""

from __future__ import annotations

import copy
import os
import socket
import threading
from http.client import HTTPMessage
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.access.peer import unmapped
from wsproxy.access.redaction import secretsOf, withoutSecrets
from wsproxy.endpoints.hostport import HostPort
from wsproxy.errors import Close, DialError, Refusal
from wsproxy.interfaces import (
    Ending,
    IAuthenticator,
    Identity,
    IDialer,
    IObserver,
    IResolver,
    Request,
    Session,
    Target,
)
from wsproxy.plugins.blocking import BlockingPlugin
from wsproxy.plugins.headers import asMessage
from wsproxy.plugins.oldauth import asRefusal
from wsproxy.websockify.handler import ProxyRequestHandler

__all__ = ["Steering"]

_HANDLER = "handler"


@implementer(IResolver, IAuthenticator, IDialer, IObserver)
class Steering:
    """
    @param kind: the handlers' class.
    @param server: what each is given a copy of.
    @ivar webAuth: they are asked about pages, too.
    """

    def __init__(self, kind: type[ProxyRequestHandler], server: Any, reactor: Any, dialer: IDialer) -> None:
        self._kind = kind
        self._server = server
        self.webAuth = bool(server.web_auth)
        self._reactor = reactor
        self._dialer = dialer
        self._calls = BlockingPlugin(kind.__name__, reactor)
        self._visits: dict[str, _Visit] = {}

    def _makeHandler(self, request: Request) -> ProxyRequestHandler:
        address = unmapped(request.client)
        place = getattr(address, "host", ""), getattr(address, "port", 0), request.secure
        return self._kind(_Newcomer(request), place, copy.copy(self._server))

    def authenticate(self, request: Request) -> Deferred[Any] | None:
        """Of pages; of others, L{resolve} asks."""
        if not request.page:
            return None
        return self._ask(request, lambda: self._makeHandler(request).auth_connection())

    def resolve(self, request: Request, identity: Identity | None) -> Deferred[Any]:
        def decide() -> Target:
            handler = self._makeHandler(request)
            handler.validate_connection()
            handler.auth_connection()
            return Target(_text(handler.server), claims={_HANDLER: handler}, sockets=True)

        return self._ask(request, decide)

    def _ask(self, request: Request, call: Any) -> Deferred[Any]:
        tried = "authorization" in request.headers

        def refused(error: BaseException) -> Refusal | None:
            secrets = secretsOf(request)
            if isinstance(error, self._server.EClose):
                return Refusal(403, "Token not accepted", cause=withoutSecrets(str(error), *secrets), guess=True)
            return asRefusal(error, secrets, tried)

        return self._calls.call(call, lambda: secretsOf(request), refused)

    def foresee(self, target: Target) -> None:
        """A handler's own way is its own affair."""
        foresee = getattr(self._dialer, "foresee", None)
        if foresee is not None and not target.claims[_HANDLER].leadsItself:
            foresee(target)

    def dial(self, session: Session, factory: IProtocolFactory) -> Deferred[IProtocol]:
        handler: ProxyRequestHandler = session.target.claims[_HANDLER]
        if not handler.leadsItself:
            plain: Deferred[IProtocol] = self._dialer.dial(session, factory)
            return plain
        visit = self._visits[session.id] = _Visit(self._reactor, self._dialer, session, factory)
        return visit.begin(handler)

    def opened(self, session: Session) -> None:
        """It is dialled for later."""

    def closed(self, session: Session, ending: Ending) -> None:
        visit = self._visits.pop(session.id, None)
        if visit is not None:
            visit.over.set()


class _Newcomer:
    """A L{Client<wsproxy.websockify.handler.Client>} that has no session yet."""

    def __init__(self, request: Request) -> None:
        self.path = f"{request.path}?{request.rawQuery}" if request.rawQuery else request.path
        self.headers: HTTPMessage = asMessage(request)

    def relay(self, target: socket.socket) -> None:
        raise RuntimeError("the client has no WebSocket yet")

    def lead(self) -> None:
        raise RuntimeError("the client has no WebSocket yet")


class _Visit:
    """
    A L{Client<wsproxy.websockify.handler.Client>} with a session, in whose thread its handler is.

    @ivar over: that the session is.
    """

    _log = Logger()

    def __init__(self, reactor: Any, dialer: IDialer, session: Session, factory: IProtocolFactory) -> None:
        self.over = threading.Event()
        self._reactor = reactor
        self._dialer = dialer
        self._session = session
        self._factory = factory
        self._connected: Deferred[IProtocol] = Deferred(lambda _: self.over.set())

    def begin(self, handler: ProxyRequestHandler) -> Deferred[IProtocol]:
        self.path, self.headers = handler.path, handler.headers
        handler.admitted(self)
        # one for as long as the session lasts: a pool would be full of them
        threading.Thread(target=self._run, args=(handler,), name="websockify handler", daemon=True).start()
        return self._connected

    def _run(self, handler: ProxyRequestHandler) -> None:
        try:
            handler.new_websocket_client()
            outcome = Failure(DialError("Closed"))
        except handler.CClose as error:
            outcome = self._close(*error.args)
        except BaseException:
            outcome = Failure()
        self._reactor.callFromThread(self._end, outcome)

    def _close(self, code: Any = 1000, reason: Any = "", *others: Any) -> Failure:
        """@return: how there came to be no target."""
        try:
            close = Close(int(code), str(reason))
        except (TypeError, ValueError):
            return Failure()
        self._reactor.callFromThread(self._session.close, close)
        return Failure(DialError(close.reason))

    def _end(self, outcome: Failure) -> None:
        """It has come back, without a target or after its session."""
        if not self._connected.called:
            self._connected.errback(outcome)
        elif not self.over.is_set() and not outcome.check(DialError):
            self._log.failure("{session:.8} in its handler", outcome, session=self._session.id)

    # In the thread

    def relay(self, target: socket.socket) -> None:
        """The handler keeps its own descriptor of it, and may close that."""
        ours = target.dup()
        ours.setblocking(False)
        self._reactor.callFromThread(self._adopt, ours)
        self.over.wait()

    def lead(self) -> None:
        self._reactor.callFromThread(self._dial)
        self.over.wait()

    # In the reactor's

    def _adopt(self, connection: socket.socket) -> None:
        with connection:
            if self._connected.called:
                return
            factory = _Keeping(self._factory)
            try:
                self._reactor.adoptStreamConnection(connection.fileno(), connection.family, factory)
            except OSError:
                self._connected.errback(Failure())
                return
        if factory.built is not None and not self._connected.called:
            self._connected.callback(factory.built)

    def _dial(self) -> None:
        if not self._connected.called:
            dialled: Deferred[IProtocol] = self._dialer.dial(self._session, self._factory)
            dialled.chainDeferred(self._connected)


class _Keeping:
    """A factory that remembers what it has built."""

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory
        self.built: IProtocol | None = None

    def buildProtocol(self, address: IAddress) -> IProtocol | None:
        self.built = self._factory.buildProtocol(address)
        return self.built


def _text(server: Any) -> str:
    """Where this says that a client is to be led; the handler may have its own idea."""
    if server.unix_target:
        return f"unix:{os.path.abspath(server.unix_target)}"
    if server.target_host is None or server.target_port is None:
        return "by its handler"
    return str(HostPort(str(server.target_host).strip("[]"), int(server.target_port)))
