"""C{websocket:}, C{ws:} and C{wss:} endpoint strings. Nothing of them is imported until one is parsed."""

from typing import Any

from twisted.internet.interfaces import (
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin, IStreamServerEndpointStringParser)
class _Server:
    prefix = "websocket"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> Any:
        from wsproxy.passage.server import parseServer

        return parseServer(reactor, *args, **kwargs)


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class _Client:
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> Any:
        from wsproxy.passage.client import parseClient

        return parseClient(self.prefix == "wss", reactor, *args, **kwargs)


websocketServer = _Server()
wsClient = _Client("ws")
wssClient = _Client("wss")
