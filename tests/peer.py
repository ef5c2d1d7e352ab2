"""A WebSocket client over a real connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import clientFromString, connectProtocol

from tests.ends.contract import Peer
from tests.ends.fake import Message, messages
from tests.tunnel.client import Frame

__all__ = ["WebSocketPeer", "connect", "openWebSocket"]


class WebSocketPeer(Peer):
    """
    A client that has said what it wants, and keeps what it is told.

    @ivar head: the response to its request, once C{opened}.
    """

    def __init__(self) -> None:
        super().__init__()
        self.head = b""

    async def opened(self) -> None:
        """Wait for the end of the response's headers."""
        await self.when(lambda: b"\r\n\r\n" in self.received)
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        self.head = bytes(head)

    def send(self, *frames: Frame) -> None:
        self.transport.write(b"".join(frame.encode() for frame in frames))

    def told(self) -> list[Message]:
        """The messages received so far, which must be whole."""
        return messages(bytes(self.received))

    async def gone(self) -> None:
        """Wait for the end of the connection."""
        await self.when(lambda: self.lost is not None)


async def connect(test: Any, reactor: Any, address: Any) -> WebSocketPeer:
    """@param address: a client endpoint, or its string. The connection ends with the test at the latest."""
    peer = WebSocketPeer()
    await connectProtocol(clientFromString(reactor, address) if isinstance(address, str) else address, peer)

    async def end() -> None:
        if peer.lost is None:
            peer.transport.abortConnection()
        await peer.gone()

    test.addCleanup(end)
    return peer


async def openWebSocket(test: Any, reactor: Any, address: Any, *headers: str) -> WebSocketPeer:
    """A client that has asked for a WebSocket, and been answered."""
    peer = await connect(test, reactor, address)
    lines = ["GET / HTTP/1.1", "Host: here", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *headers, "", ""]
    peer.transport.write("\r\n".join(lines).encode())
    await peer.opened()
    return peer
