"""WebSocket servers for clients under test: a library's, and those that behave badly, by hand."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha1
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

__all__ = ["LibraryServer", "echo", "shake"]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class LibraryServer:
    """C{websockets}' server, in threads.

    @ivar asked: the path, the subprotocol and the Authorization of each client.
    """

    def __init__(self, handler: Callable[[ServerConnection], None], tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[tuple[str, str | None, str | None]] = []

        def handle(connection: ServerConnection) -> None:
            request = connection.request
            assert request is not None
            self.asked.append((request.path, connection.subprotocol, request.headers.get("Authorization")))
            with contextlib.suppress(ConnectionClosed):
                handler(connection)

        subprotocols: Any = ["binary"]
        options: Any = {"compression": None, "max_size": None, "ping_interval": None}
        self._server = serve(handle, "127.0.0.1", 0, subprotocols=subprotocols, ssl=tls, **options)
        self.port: int = self._server.socket.getsockname()[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()


def echo(connection: ServerConnection) -> None:
    """Says what it hears; C{bye} has it close with 4123."""
    for message in connection:
        if message == b"bye":
            connection.close(4123, "so long")
            return
        connection.send(message)


def shake(client: socket.socket) -> None:
    """Answer the handshake of whoever is there, as is proper."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(65536)
    key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    proof = b64encode(sha1(key + _GUID).digest())
    answer = b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + proof
    client.sendall(answer + b"\r\n\r\n")
