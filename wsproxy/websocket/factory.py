"""Makes WebSockets out of connections: for any endpoint, in the place of the factory of the protocol above."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from zope.interface import implementer

from wsproxy.websocket.patience import HEARTBEAT
from wsproxy.websocket.request import UpgradeRequest
from wsproxy.websocket.transport import WebSocketTransport

__all__ = ["UpgradedEndpoint", "WebSocketFactory"]


class WebSocketFactory(Factory[WebSocketTransport]):
    """
    @param factory: of the protocol above, which is built when the server has said 101.
    @param heartbeat: seconds between pings; 0 for none.
    """

    noisy = False

    def __init__(
        self, request: UpgradeRequest, factory: IProtocolFactory, clock: IReactorTime, heartbeat: float = HEARTBEAT
    ) -> None:
        self._request = request
        self._factory = factory
        self._clock = clock
        self._heartbeat = heartbeat

    def buildProtocol(self, addr: Any) -> WebSocketTransport:
        return WebSocketTransport(self._request, self._factory, self._clock, self._heartbeat)

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()


@implementer(IStreamClientEndpoint)
class UpgradedEndpoint:
    """
    An endpoint whose connections become WebSockets.

    @param endpoint: makes connections to the server, over TLS where its URL says so.
    """

    def __init__(
        self, endpoint: IStreamClientEndpoint, request: UpgradeRequest, clock: IReactorTime, heartbeat: float
    ) -> None:
        self._endpoint = endpoint
        self._request = request
        self._clock = clock
        self._heartbeat = heartbeat

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        upgraded = WebSocketFactory(self._request, protocolFactory, self._clock, self._heartbeat)
        return Deferred.fromCoroutine(self._connect(upgraded))

    async def _connect(self, upgraded: WebSocketFactory) -> IProtocol:
        transport = cast(WebSocketTransport, await self._endpoint.connect(upgraded))
        return await transport.opened
