"""
Clients that come and go, so many a second, in a process of their own: each says something, hears it and leaves.

    python -P visitor.py PORT RATE CAFILE

Every other one speaks TLS. At the end of stdin they stop, and a line of JSON tells how many there were, what went
wrong, and how long the slowest took, in seconds.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from threading import Event, Lock, Thread
from typing import Any

THREADS = 16
PATIENCE = 30.0
"""Seconds that one waits for anything."""

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: binary\r\n\r\n"
)
HELLO = b"\x82\x85\0\0\0\0hello"
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"


class Visitors:
    """
    @ivar problems: what has gone wrong, by what it was.
    """

    def __init__(self, port: int, rate: float, authorities: str) -> None:
        self._port = port
        self._rate = rate
        self._context = ssl.create_default_context(cafile=authorities)
        self._lock = Lock()
        self._over = Event()
        self._begun = time.monotonic()
        self._visits = 0
        self._longest = 0.0
        self.problems: dict[str, int] = {}

    def run(self) -> None:
        threads = [Thread(target=self._come) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self._over.set()
        for thread in threads:
            thread.join()
        taken = time.monotonic() - self._begun
        told = {"visits": self._visits, "rate": self._visits / taken, "longest": self._longest}
        print(json.dumps({**told, "problems": self.problems}), flush=True)

    def _come(self) -> None:
        while not self._over.is_set():
            with self._lock:
                number, self._visits = self._visits, self._visits + 1
            self._over.wait(max(0.0, self._begun + number / self._rate - time.monotonic()))
            began = time.monotonic()
            problem = self._visit(number % 2 == 1)
            with self._lock:
                self._longest = max(self._longest, time.monotonic() - began)
                if problem is not None:
                    self.problems[problem] = self.problems.get(problem, 0) + 1

    def _visit(self, secure: bool) -> str | None:
        """@return: what went wrong."""
        step = "connecting"
        try:
            connection: Any = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE)
            with connection:
                if secure:
                    step = "TLS"
                    connection = self._context.wrap_socket(connection, server_hostname="localhost")
                with connection:
                    step = "upgrading"
                    connection.sendall(UPGRADE)
                    head, _, rest = _until(connection, b"", b"\r\n\r\n").partition(b"\r\n\r\n")
                    if not head.startswith(b"HTTP/1.1 101"):
                        return head.partition(b"\r\n")[0].decode("latin-1")
                    step = "talking"
                    connection.sendall(HELLO)
                    rest = _until(connection, rest, b"hello")
                    step = "leaving"
                    connection.sendall(CLOSE)
                    return None if _until(connection, rest, b"\x03\xe8").endswith(b"\x88\x02\x03\xe8") else "no 1000"
        except OSError as error:
            return f"{step}: {error!r}"


def _until(connection: socket.socket, data: bytes, end: bytes) -> bytes:
    """@raise OSError: it does not come."""
    while end not in data:
        more = connection.recv(4096)
        if not more:
            raise OSError(f"closed after {data[-40:]!r}")
        data += more
    return data


if __name__ == "__main__":
    Visitors(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]).run()
