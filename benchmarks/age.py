"""How old is what a slow client sees, over a line and through a proxy of yours?

::

    python -m benchmarks.age target 7000                 where the console would be: what it says is the time
    twistd -n websockify --listen 6080 --target 127.0.0.1:7000
    python -m benchmarks.age client ws://127.0.0.1:6080/ --rate 300000

The client prints how old what it reads is, once a second: the clocks of its machine and of the target's have to agree.
It takes C{--rate} bytes a second; without, as many as come. Over loopback its own kernel holds 64 KiB for it, and
elsewhere what a browser's would.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import struct
import sys
import threading
import time
from ipaddress import ip_address

from twisted.internet.error import ConnectError

from benchmarks.command import count, runToTheEnd
from wsproxy.endpoints.weburl import WebSocketURL, parseWebSocketURL
from wsproxy.websocket.handshake import ClientHandshake
from wsproxy.websocket.request import UpgradeRequest
from wsproxy.wire.serverframes import ClientWire

ROOM = 65536
"""Bytes that wait for a client with its own kernel, on this machine; and half of it for the target with its own."""

SEGMENT = 1448
"""Bytes a packet, as on Ethernet: over loopback one is as large as all that room, and waits for it to be empty."""

_stamp = struct.Struct("!d")
BLOCK = 4096
"""Bytes of which the first are a time."""

PIECE = 16384
"""Bytes that are read at a time."""


def serve(port: int) -> None:
    """Tell each client the time, as fast as it can be written."""
    with socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        print(f"telling the time on port {server.getsockname()[1]}", flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_tell, args=(connection,), daemon=True).start()


def _tell(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM // 2)
    try:
        while True:
            connection.sendall(_stamp.pack(time.time()).ljust(BLOCK, b"\0"))
    except OSError:
        connection.close()


def read(url: WebSocketURL, rate: float, seconds: float) -> None:
    """Print ages, once a second. @raise ConnectError: there is no WebSocket, or not any more."""
    family, _, _, _, address = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family) as connection:
        if ip_address(address[0]).is_loopback:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        connection.settimeout(20)
        connection.connect(address)
        handshake = ClientHandshake(UpgradeRequest(url))
        connection.sendall(handshake.begin())
        behind = None
        while behind is None:
            behind = handshake.receive(_some(connection))
        _follow(connection, behind, rate, seconds)


def _follow(connection: socket.socket, data: bytes, rate: float, seconds: float) -> None:
    wire, said, ages = ClientWire(), bytearray(), list[float]()
    size, begun = 0, time.monotonic()
    second = 1
    while second <= seconds:
        for piece in wire.feed(data):
            said += piece
        pong = wire.pong()
        if pong is not None:
            connection.sendall(pong)
        while len(said) >= BLOCK:
            ages.append(time.time() - _stamp.unpack_from(said)[0])
            del said[:BLOCK]
            size += BLOCK
        if rate:
            time.sleep(max(0.0, begun + size / rate - time.monotonic()))
        if ages and time.monotonic() - begun >= second:
            print(f"{second:3} s: {statistics.median(ages):.2f} s old, {size / second / 1e6:.2f} MB/s", flush=True)
            ages.clear()
            second = int(time.monotonic() - begun) + 1
        data = _some(connection)


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(PIECE)
    if not data:
        raise ConnectError(string="the proxy has closed the connection")
    return data


def _url(word: str) -> WebSocketURL:
    """For C{type=}."""
    try:
        url = parseWebSocketURL(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if url.secure:
        raise argparse.ArgumentTypeError("without TLS: ws://")
    return url


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.age", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    target = commands.add_parser("target", help="tell whoever connects the time")
    target.add_argument("port", type=int)
    client = commands.add_parser("client", help="say how old what comes is")
    client.add_argument("url", type=_url, metavar="URL", help="ws://…, of the proxy")
    client.add_argument("--rate", type=count, default=0, help="bytes a second that are taken (default: all that come)")
    client.add_argument("--seconds", type=count, default=20, help="how long (default: 20)")
    arguments = parser.parse_args()
    try:
        if arguments.command == "target":
            serve(arguments.port)
        else:
            read(arguments.url, arguments.rate, arguments.seconds)
    except (OSError, ConnectError) as error:
        sys.exit(f"benchmarks.age: {error}")


if __name__ == "__main__":
    runToTheEnd(main)
