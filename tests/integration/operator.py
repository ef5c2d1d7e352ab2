"""An operator who asks the admin side of a proxy, over HTTP."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection
from typing import Any, NamedTuple

from twisted.internet.threads import deferToThread

__all__ = ["Answer", "ask", "askNow"]


class Answer(NamedTuple):
    """
    @ivar body: as JSON says it, or else as it is.
    """

    status: int
    body: Any
    headers: dict[str, str]


class _Connection(HTTPConnection):
    """To a socket file, or to a port of this machine."""

    def __init__(self, where: str | int) -> None:
        super().__init__("localhost", timeout=20)
        self._where = where

    def connect(self) -> None:
        if isinstance(self._where, int):
            self.sock = socket.create_connection(("127.0.0.1", self._where), 20)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(20)
            self.sock.connect(self._where)


def askNow(where: str | int, method: str, path: str, **headers: str) -> Answer:
    """@param headers: with C{_} for C{-}."""
    connection = _Connection(where)
    connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    response = connection.getresponse()
    body: Any = response.read()
    if response.getheader("content-type", "") == "application/json":
        body = json.loads(body)
    answer = Answer(response.status, body, {name.lower(): value for name, value in response.getheaders()})
    connection.close()
    return answer


def ask(where: str | int, method: str, path: str, **headers: str) -> Any:
    """@return: a Deferred of the L{Answer}."""
    return deferToThread(askNow, where, method, path, **headers)
