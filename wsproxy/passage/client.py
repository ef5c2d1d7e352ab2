"""C{ws:} and C{wss:} endpoint strings: any Twisted client goes through a WebSocket.

::

    ws:HOST:PORT:path=/ssh?x=y:header=X-Name\\: value        wss:HOST        wss:url=wss\\://HOST/PATH:cafile=ca.pem
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from wsproxy.dialling.dial import Dialer
from wsproxy.endpoints.hostport import HostPort
from wsproxy.endpoints.weburl import WebSocketURL, parseWebSocketURL
from wsproxy.passage.arguments import Arguments
from wsproxy.passage.passage import Manner
from wsproxy.websocket.patience import HEARTBEAT
from wsproxy.websocket.request import SUBPROTOCOLS, UpgradeRequest, basic, parseHeader

__all__ = ["WebSocketClientEndpoint", "parseClient"]


@implementer(IStreamClientEndpoint)
class WebSocketClientEndpoint:
    """
    To connect to it fails with L{DialError<wsproxy.errors.DialError>}, whose C{__cause__} is Twisted's exception, or
    L{UpgradeFailed<wsproxy.websocket.handshake.UpgradeFailed>}.

    @param dialer: how its server is reached.
    """

    def __init__(self, dialer: Dialer, request: UpgradeRequest) -> None:
        self._dialer = dialer
        self._request = request

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        protocolFactory.doStart()
        connecting = self._dialer.upgrade(self._request, protocolFactory)
        return connecting.addErrback(_stopped, protocolFactory)


def _stopped(failure: Any, factory: IProtocolFactory) -> Any:
    factory.doStop()
    return failure


def parseClient(secure: bool, reactor: Any, *words: str, **named: str) -> WebSocketClientEndpoint:
    """
    What follows C{ws:} or C{wss:}.

    @raise ConfigError: it makes no sense.
    """
    arguments = Arguments("wss:" if secure else "ws:", words, named, ("host", "port"))
    try:
        url = _url(secure, arguments)
        headers = [parseHeader(line) for line in arguments.secrets("header")]
    except ValueError as error:
        raise arguments.error(str(error)) from None
    user, password = arguments.filled("user"), arguments.secret("password")
    if password is not None and user is None:
        raise arguments.error("password= needs user=")
    if user is not None:
        headers.append(basic(user, password or ""))
    subprotocols = arguments.tokens("subprotocol")
    offered = SUBPROTOCOLS if subprotocols is None else subprotocols
    try:
        request = UpgradeRequest(url, tuple(headers), offered, arguments.filled("origin"))
    except ValueError as error:
        raise arguments.error(str(error)) from None
    timeout, heartbeat = arguments.seconds("timeout"), arguments.seconds("heartbeat")
    authorities, insecure = arguments.filled("cafile"), bool(arguments.flag("insecure"))
    if not secure and (authorities is not None or insecure):
        raise arguments.error("cafile= and insecure= are about TLS, which wss: speaks")
    manner = Manner(
        authorities,
        insecure,
        10.0 if timeout is None else timeout,
        HEARTBEAT if heartbeat is None else heartbeat,
    )
    arguments.finish()
    return WebSocketClientEndpoint(manner.makeDialer(reactor, "cafile="), request)


def _url(secure: bool, arguments: Arguments) -> WebSocketURL:
    whole, host, path = arguments.secret("url"), arguments.take("host"), arguments.secret("path")
    if host is not None and host.startswith("//"):
        raise arguments.error(r"Is a colon not escaped? url=ws\://HOST/PATH")
    port = arguments.number("port", 65535)
    if (whole is None) == (host is None) or (whole is not None and (port or path)):
        raise arguments.error("HOST[:PORT][:path=/PATH], or url=")
    if whole is None:
        assert host is not None
        default = 443 if secure else 80
        path = f"/{(path or '').removeprefix('/')}"
        whole = f"{'wss' if secure else 'ws'}://{HostPort(host.strip('[]'), port or default)}{path}"
    url = parseWebSocketURL(whole)
    if url.secure is not secure:
        raise arguments.error("url= is of the other kind")
    return url
