"""The way to a target: from a string to a connected protocol, or to a reason that a person can read.

target string ─► name resolution ─► Happy Eyeballs ─► TLS, verified ─► WebSocket ─► the factory's protocol
                 └──────────────────── one deadline over all of it ───────────────┘
"""

from __future__ import annotations

import builtins
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, NoReturn

from OpenSSL.SSL import Error as TLSError
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint, clientFromString
from twisted.internet.error import (
    ConnectError,
    ConnectionClosed,
    ConnectionRefusedError,
    DNSLookupError,
    NoProtocol,
    TCPTimedOutError,
    TimeoutError,
    VerifyError,
)
from twisted.internet.interfaces import (
    IHostnameResolver,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    ISSLTransport,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.access.proxyheader import VERSIONS
from wsproxy.access.reach import Reach
from wsproxy.dialling.attempt import watchesSockets
from wsproxy.dialling.demo import demoSocket
from wsproxy.dialling.eyeballs import HappyEyeballsEndpoint
from wsproxy.dialling.handshake import Handshake, HandshakeFactory, HandshakeFailed
from wsproxy.dialling.held import heldSocket
from wsproxy.dialling.names import NameResolver, chooseResolver
from wsproxy.dialling.preface import PrefacedEndpoint, headerFor
from wsproxy.dialling.reactor import IDiallingReactor
from wsproxy.dialling.seen import SEEN, SeenReactor, asLiteral, destination
from wsproxy.endpoints.target import (
    DemoTarget,
    ParsedTarget,
    StringTarget,
    TCPTarget,
    UNIXTarget,
    parseTarget,
    targetError,
)
from wsproxy.endpoints.weburl import WebSocketURL, discreetTarget
from wsproxy.ends.securetransport import SecureTransport
from wsproxy.errors import ConfigError, DialError, NotAllowed
from wsproxy.escape import escape
from wsproxy.fault import logFault
from wsproxy.interfaces import IDialer, Session, Target
from wsproxy.websocket.factory import WebSocketFactory
from wsproxy.websocket.handshake import UpgradeFailed
from wsproxy.websocket.patience import HEARTBEAT
from wsproxy.websocket.request import UpgradeRequest

__all__ = ["DialError", "Dialer"]

_UNIX_RETRY = 0.05
"""Seconds until a unix socket is tried again whose backlog was full."""


_REASONS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    ((ConnectionRefusedError, builtins.ConnectionRefusedError), "Target refused the connection"),
    ((TimeoutError, TCPTimedOutError), "Target timed out"),
    (DNSLookupError, "Target name not found"),
    (ConfigError, "Target misconfigured"),
    (NotAllowed, "Target not allowed"),
)
"""What is told of each failure. Where several addresses failed differently, the reason that stands first here: who
refuses is at least there."""

_EXPECTED = (OSError, ConnectError, ConnectionClosed, NoProtocol, NotAllowed)
"""Failures of a network for which there is no reason above. Whatever else is raised is a mistake in somebody's code."""

_EXPECTED_TLS = (TLSError, VerifyError, VerificationError, CertificateError)
"""Failures of a TLS handshake. Here, too, whatever else is raised is a mistake."""

# Twisted's function has no types
_clientFromString: Callable[[Any, str], IStreamClientEndpoint] = clientFromString


@implementer(IDialer)
class Dialer:
    """
    Dials every kind of L{wsproxy.endpoints.target}.

    A client is told what kind of thing went wrong, never an exception's own words. Where no network would fail like
    that, these are in the log, with a traceback.

    @param reactor: provides C{IReactorTCP}, C{IReactorUNIX}, C{IReactorSocket}, C{IReactorTime} and
        C{IReactorPluggableNameResolver}.
    @param connectTimeout: seconds for everything from name resolution to the end of the TLS handshake.
    @param tls: a host name or IP address to the settings of TLS connections to it, verification included;
        asked once for each host.
    @param describeTLS: what to tell a client about an exception of a TLS handshake, without naming the host.
    @param forceTLS: dial C{HOST:PORT} as if it were C{tls:HOST:PORT}, and nothing that would leave this machine without
        TLS.
    @param heartbeat: seconds between pings to targets that are WebSockets; 0 for none.
    @param sendProxy: C{"v1"} or C{"v2"}: tell targets of their clients that do not say otherwise
        (C{Target.proxyHeader}); L{None}: do not.
    @param reach: what may be dialled, of that which a resolver came up with; L{None} for everything.
    @param fixed: the one target that may be all the same: the operator's own.
    @param nameResolver: by default the one that was installed in the reactor, or instead of Twisted's
        L{NameResolver}.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IDiallingReactor,
        *,
        connectTimeout: float,
        tls: Callable[[str], IOpenSSLClientConnectionCreator] = optionsForClientTLS,
        describeTLS: Callable[[BaseException], str] = lambda error: "handshake failed",
        forceTLS: bool = False,
        heartbeat: float = HEARTBEAT,
        sendProxy: str | None = None,
        reach: Reach | None = None,
        fixed: str | None = None,
        nameResolver: IHostnameResolver | None = None,
    ) -> None:
        self._reactor = reactor
        self._timeout = connectTimeout
        # a context of its own for each connection would read the authorities each time
        self._tls = lru_cache(maxsize=64)(tls)
        self._describeTLS = describeTLS
        self._forceTLS = forceTLS
        self._heartbeat = heartbeat
        self._sendProxy = sendProxy
        self._reach = reach
        self._fixed = fixed
        self._nameResolver = nameResolver
        self._ownResolver = NameResolver(reactor)
        self._parse = lru_cache(maxsize=256)(parseTarget)

    def check(self, target: Target) -> None:
        """
        Understand C{target} without dialling it, down to the arguments of an endpoint string.

        @raise ConfigError: it cannot be dialled, and why.
        """
        parsed = parseTarget(target.text)
        if self._forceTLS and _isPlain(parsed):
            raise targetError(target.text, _PLAIN)
        if isinstance(parsed, StringTarget):
            if self._sendProxy is not None and _prefix(parsed.description) == "ssl":
                raise targetError(target.text, _INSIDE)
            try:
                _clientFromString(self._reactor, parsed.description)
            except Exception as error:
                # anybody's plugin may parse it, and complain with whatever exception came up
                raise targetError(target.text, str(error) or type(error).__name__) from error

    def dial(self, session: Session, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See L{IDialer.dial}. @return: as L{connect} does."""
        target = session.target
        header = b"" if target.proxyHeader is None and self._sendProxy is None else self.header(session)
        return self.connect(target, factory, header, self._reachOf(target))

    def _reachOf(self, target: Target) -> Reach | None:
        return None if target.text == self._fixed else self._reach

    def foresee(self, target: Target) -> None:
        """
        Say no before the client is let in, where that is known: see L{IDialer}.

        @raise NotAllowed: L{dial} would not dial it.
        """
        reach = self._reachOf(target)
        if reach is None:
            return
        try:
            parsed = self._parse(target.text)
        except ConfigError:
            return  # it will not be dialled either, but for another reason
        match parsed:
            case TCPTarget(host=host, port=port) | WebSocketURL(host=host, port=port):
                _foreseeHost(reach, host, port)
            case UNIXTarget(path):
                reach.checkSocket(os.path.realpath(path), target.sockets)
            case StringTarget(description) if _prefix(description) not in SEEN:
                reach.checkUnseen(description)
            case StringTarget(description):
                found = destination(description)
                if found is not None:
                    _foreseeHost(reach, *found)

    def header(self, session: Session) -> bytes:
        """
        @return: what the target is told of its client before everything else; nothing by default.
        @raise ConfigError: it asks for what there is not.
        """
        version = session.target.proxyHeader or self._sendProxy
        if version is None:
            return b""
        if version not in VERSIONS:
            raise targetError(session.target.text, f"a PROXY header is one of {', '.join(VERSIONS)}")
        return headerFor(version, session.request)

    def connect(
        self, target: Target, factory: IProtocolFactory, header: bytes = b"", reach: Reach | None = None
    ) -> Deferred[IProtocol]:
        """
        Connect to C{target} and build its protocol with C{factory}. Over TLS, that is only asked for one once the
        certificate is verified.

        @param header: what is sent first, before TLS, too.
        @param reach: asked about the very address that is connected to.
        @return: fires with the protocol, or fails with L{DialError}.
        """

        return self._inTime(maybeDeferred(self._connect, target, factory, header, reach), target)

    def upgrade(self, request: UpgradeRequest, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to a WebSocket by a request of one's own. @return: as L{connect} does."""
        connecting = Deferred.fromCoroutine(self._connectWebSocket(request, factory, b"", None))
        return self._inTime(connecting, Target(str(request.url)))

    def _inTime(self, connecting: Deferred[IProtocol], target: Target) -> Deferred[IProtocol]:
        def timedOut(result: object, timeout: float) -> NoReturn:
            raise TimeoutError

        if not connecting.called:
            connecting.addTimeout(self._timeout, self._reactor, timedOut)
        return connecting.addErrback(self._explain, target)

    def _connect(
        self, target: Target, factory: IProtocolFactory, header: bytes, reach: Reach | None
    ) -> Deferred[IProtocol]:
        parsed = self._parse(target.text)
        if isinstance(parsed, TCPTarget) and not (parsed.tls or self._forceTLS):
            endpoint = self._endpoint(parsed.host, parsed.port, reach)
            return (PrefacedEndpoint(endpoint, header) if header else endpoint).connect(factory)
        return Deferred.fromCoroutine(self._connectOther(parsed, factory, header, reach, target.sockets))

    async def _connectOther(
        self, target: ParsedTarget, factory: IProtocolFactory, header: bytes, reach: Reach | None, named: bool
    ) -> IProtocol:
        if self._forceTLS and _isPlain(target):
            raise NotAllowed(_PLAIN)
        match target:
            case TCPTarget(host, port):
                protocol, header = await self._connectTLS(host, port, factory, header, reach), b""
            case WebSocketURL():
                protocol, header = await self._connectWebSocket(UpgradeRequest(target), factory, header, reach), b""
            case UNIXTarget(path) if reach is not None:
                with heldSocket(path) as (real, held):
                    reach.checkSocket(real, named)
                    protocol = await self._connectUNIX(held, factory)
            case UNIXTarget(path):
                protocol = await self._connectUNIX(path, factory)
            case DemoTarget():
                protocol = self._adopt(demoSocket(self._reactor), factory)
            case StringTarget(description):
                protocol = await self._connectString(description, factory, reach, named)
        transport = getattr(protocol, "transport", None)
        if header:
            _begin(transport, header)
        if ITCPTransport.providedBy(transport):
            with suppress(AttributeError, OSError):  # it is gone already, as its protocol knows
                transport.setTcpNoDelay(True)
                transport.setTcpKeepAlive(True)
        return protocol

    def _endpoint(self, host: str, port: int, reach: Reach | None) -> HappyEyeballsEndpoint:
        return HappyEyeballsEndpoint(self._reactor, self._resolver(), host, port, self._timeout, reach)

    def _resolver(self) -> IHostnameResolver:
        return self._nameResolver or chooseResolver(self._reactor, self._ownResolver)

    async def _connectString(
        self, description: str, factory: IProtocolFactory, reach: Reach | None, named: bool
    ) -> IProtocol:
        reactor: Any = self._reactor
        if reach is not None:
            if _prefix(description) not in SEEN:
                reach.checkUnseen(description)
            reactor = SeenReactor(reactor, self._resolver(), reach, description, named)
        return await _clientFromString(reactor, description).connect(factory)

    async def _connectTLS(
        self, host: str, port: int, factory: IProtocolFactory, header: bytes, reach: Reach | None
    ) -> IProtocol:
        secured = TLSMemoryBIOFactory(self._tls(host), True, HandshakeFactory(factory), self._reactor)
        secured.protocol = SecureTransport  # which the pump can take the socket from
        endpoint = self._endpoint(host, port, reach)
        transport = await (PrefacedEndpoint(endpoint, header) if header else endpoint).connect(secured)
        assert isinstance(transport, SecureTransport)
        handshake = transport.wrappedProtocol
        assert isinstance(handshake, Handshake)
        return await handshake.completed

    async def _connectWebSocket(
        self, request: UpgradeRequest, factory: IProtocolFactory, header: bytes, reach: Reach | None
    ) -> IProtocol:
        url = request.url
        upgraded = WebSocketFactory(request, factory, self._reactor, self._heartbeat)
        if url.secure:
            web: Any = await self._connectTLS(url.host, url.port, upgraded, header, reach)
        else:
            endpoint = self._endpoint(url.host, url.port, reach)
            web = await (PrefacedEndpoint(endpoint, header) if header else endpoint).connect(upgraded)
        try:
            opened: IProtocol = await web.opened
        except ConnectionClosed as error:
            raise DialError("Target closed the connection during the WebSocket handshake") from error
        return opened

    async def _connectUNIX(self, path: str, factory: IProtocolFactory) -> Any:
        if watchesSockets(self._reactor):
            return self._adopt(await self._connectSocket(path), factory)
        return await UNIXClientEndpoint(self._reactor, path, self._timeout).connect(factory)

    async def _connectSocket(self, path: str) -> socket.socket:
        # Twisted's own connector fails at once when the backlog is full, where TCP would wait.
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.setblocking(False)
                connection.connect(path)
                return connection
            except BlockingIOError:
                connection.close()
            except BaseException:
                connection.close()
                raise
            await deferLater(self._reactor, _UNIX_RETRY)

    def _adopt(self, connection: socket.socket, factory: IProtocolFactory) -> Any:
        with connection:
            # the transport takes a duplicate of the descriptor
            try:
                transport = self._reactor.adoptStreamConnection(connection.fileno(), socket.AF_UNIX, factory)
            except BaseException:
                connection.shutdown(socket.SHUT_RDWR)  # the traceback may hold on to the duplicate
                raise
        if transport is None:
            raise NoProtocol()
        return transport.protocol

    def _explain(self, failure: Failure, target: Target) -> Failure:
        error = failure.value
        if isinstance(error, (CancelledError, DialError)):
            return failure
        reason = self._reason(error)
        if reason is None:
            logFault(self._log, "dialling {target}", failure, target=escape(discreetTarget(target.text)))
        raise DialError(reason or "Target unreachable") from error

    def _reason(self, error: BaseException | None) -> str | None:
        """@return: what a person can read; L{None} for what should not have happened."""
        if isinstance(error, HandshakeFailed):
            return self._handshakeReason(error.__cause__)
        if isinstance(error, UpgradeFailed):
            return str(error)
        causes = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
        told = (reason for types, reason in _REASONS for cause in causes if isinstance(cause, types))
        expected = all(isinstance(cause, _EXPECTED) for cause in causes)
        return next(told, "Target unreachable" if expected else None)

    def _handshakeReason(self, cause: BaseException | None) -> str | None:
        if cause is None or isinstance(cause, ConnectionClosed):
            return "Target closed the connection during the TLS handshake"
        return f"Target TLS: {self._describeTLS(cause)}" if isinstance(cause, _EXPECTED_TLS) else None


_INSIDE = "--send-proxy would speak inside of the TLS of such an endpoint; use tls:HOST:PORT"


_PLAIN = "--ssl-target, and it speaks no TLS: tls:HOST:PORT, wss://HOST/PATH or ssl: does"


def _isPlain(target: ParsedTarget) -> bool:
    """Whether bytes for it may leave this machine without TLS, C{forceTLS} or not."""
    match target:
        case WebSocketURL(secure=secure):
            return not secure
        case StringTarget(description):
            return _prefix(description) not in ("ssl", "tls", "wss", "unix")
    return False


def _begin(transport: Any, header: bytes) -> None:
    """
    @raise ConfigError: the endpoint speaks TLS by itself, and the header would be inside of it.
    """
    if ISSLTransport.providedBy(transport):
        transport.abortConnection()
        raise ConfigError(_INSIDE)
    transport.write(header)


def _foreseeHost(reach: Reach, host: str, port: int) -> None:
    """@raise NotAllowed: none of its addresses may be dialled, as far as is known without a resolver."""
    literal = asLiteral(host)
    if literal is None:
        reach.checkName(host, port)
    else:
        reach.checkAddress(literal, port, None if literal == host else host)


def _prefix(description: str) -> str:
    return description.partition(":")[0].lower()
