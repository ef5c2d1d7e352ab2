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
import base64
import os
import socket
import statistics
import struct
import sys
import threading
import time
from typing import BinaryIO
from urllib.parse import urlsplit

from benchmarks.command import count, runToTheEnd

ROOM = 65536
"""Bytes that wait for a client with its own kernel, on this machine; and half of it for the target with its own."""

SEGMENT = 1448
"""Bytes a packet, as on Ethernet: over loopback one is as large as all that room, and waits for it to be empty."""

_stamp = struct.Struct("!d")
BLOCK = 4096
"""Bytes of which the first are a time."""


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


def read(url: str, rate: float, seconds: float) -> None:
    """Print ages, once a second."""
    where = urlsplit(url)
    if where.scheme != "ws" or not where.hostname:
        sys.exit(f"benchmarks.age: {url}: not a ws:// URL")
    address = (where.hostname, where.port or 80)
    family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
    with socket.socket(family) as connection:
        if where.hostname in ("localhost", "127.0.0.1", "::1"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        connection.settimeout(20)
        connection.connect(address)
        path = (where.path or "/") + (f"?{where.query}" if where.query else "")
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {where.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: binary",
        )
        connection.sendall("\r\n".join((*lines, "", "")).encode())
        with connection.makefile("rb") as file:
            status = file.readline().decode().strip()
            if " 101 " not in status:
                sys.exit(f"benchmarks.age: {url}: {status or 'nothing but the end'}")
            while file.readline().strip():
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
            _follow(file, rate, seconds)


def _follow(file: BinaryIO, rate: float, seconds: float) -> None:
    said, ages = bytearray(), list[float]()
    read, begun = 0, time.monotonic()
    second = 1
    while second <= seconds:
        said += _message(file)
        while len(said) >= BLOCK:
            ages.append(time.time() - _stamp.unpack_from(said)[0])
            del said[:BLOCK]
            read += BLOCK
        if rate:
            time.sleep(max(0.0, begun + read / rate - time.monotonic()))
        if ages and time.monotonic() - begun >= second:
            print(f"{second:3} s: {statistics.median(ages):.2f} s old, {read / second / 1e6:.2f} MB/s", flush=True)
            ages.clear()
            second = int(time.monotonic() - begun) + 1


def _message(file: BinaryIO) -> bytes:
    """The payload of the next frame (RFC 6455 section 5.2). Pings are not answered, for it is not for long."""
    opcode, size = _exactly(file, 2)
    if size > 125:
        size = int.from_bytes(_exactly(file, 2 if size == 126 else 8), "big")
    payload = _exactly(file, size)
    return payload if opcode & 0x0F < 3 else b""


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        sys.exit("benchmarks.age: the proxy has closed the connection")
    return data


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.age", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    target = commands.add_parser("target", help="tell whoever connects the time")
    target.add_argument("port", type=int)
    client = commands.add_parser("client", help="say how old what comes is")
    client.add_argument("url", metavar="URL", help="ws://…, of the proxy")
    client.add_argument("--rate", type=count, default=0, help="bytes a second that are taken (default: all that come)")
    client.add_argument("--seconds", type=count, default=20, help="how long (default: 20)")
    arguments = parser.parse_args()
    try:
        if arguments.command == "target":
            serve(arguments.port)
        else:
            read(arguments.url, arguments.rate, arguments.seconds)
    except OSError as error:
        sys.exit(f"benchmarks.age: {error}")


if __name__ == "__main__":
    runToTheEnd(main)
