"""What the commands of C{wsproxy} say to the admin side of a proxy, over HTTP. No Twisted here: it starts at once."""

from __future__ import annotations

import json
import os
import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

from wsproxy.errors import ConfigError, WordsError

__all__ = ["DEFAULT", "AdminClient"]

DEFAULT = "unix:/run/wsproxy/admin.sock"
"""Where an admin side is looked for that nobody has named."""

_PATIENCE = 10.0
"""Seconds; an answer is there in 0.1, unless the whole process is silent."""


class _Local(HTTPConnection):
    """Over a socket file."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_PATIENCE)
        self.sock.connect(self._path)


class Answer(dict[str, Any]):
    """An object of JSON, which has what ours have; C{KeyError} would be told of as a fault of ours."""

    def __missing__(self, name: str) -> NoReturn:
        raise ConfigError(f"--admin: whatever answers there is no wsproxy: no {name}")


class AdminClient:
    """
    @param where: C{unix:PATH}, as C{--admin} has it, or a path; C{HOST:PORT}; C{http://} or C{https://}.
    @param token: of C{--admin-token}.
    @param authorities: the file of those whose certificates are trusted, instead of the system's.
    @raise ConfigError: that is no place.
    """

    def __init__(self, where: str, token: str | None = None, authorities: str | None = None) -> None:
        self._where = where
        self._token = token
        try:
            self._connection = _connection(where, authorities)
        except (ValueError, OSError) as error:
            kind = ConfigError if isinstance(error, OSError) else WordsError
            raise kind(f"--admin {where}: {error}") from None

    def ask(self, method: str, path: str, **query: str | None) -> Any:
        """
        @param query: parameters; L{None} is none.
        @return: what is answered.
        @raise ConfigError: nobody answers, or not what was asked for; in one line.
        """
        given = {name: value for name, value in query.items() if value is not None}
        headers = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        try:
            self._connection.request(method, f"{path}?{urlencode(given)}" if given else path, headers=headers)
            response = self._connection.getresponse()
            body = response.read()
            answer = json.loads(body, object_hook=Answer)
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ConfigError(f"--admin {self._where}: {reason}") from None
        if response.status == 401 and self._token is None:
            raise ConfigError(f"--admin {self._where}: needs --admin-token @FILE, or WSPROXY_ADMIN_TOKEN")
        listed = answer.get("sessions", []) if isinstance(answer, Answer) else None
        if isinstance(listed, list) and not all(isinstance(each, Answer) for each in listed):
            listed = None
        if listed is None:
            raise ConfigError(f"--admin {self._where}: whatever answers there is no wsproxy")
        if response.status >= 400:
            raise ConfigError(f"{answer.get('error', response.reason)}")
        return answer


def _connection(where: str, authorities: str | None) -> HTTPConnection:
    """@raise ValueError: that is no place."""
    if where.startswith(("unix:", "/")):
        return _Local(os.path.abspath(where.removeprefix("unix:").partition(":mode=")[0]))
    url = urlsplit(where if "://" in where else f"http://{where}")
    if url.scheme not in ("http", "https") or not url.hostname or url.path not in ("", "/"):
        raise ValueError("expected unix:PATH, HOST:PORT or https://HOST:PORT")
    if url.scheme == "http":
        return HTTPConnection(url.hostname, url.port or 80, timeout=_PATIENCE)
    context = ssl.create_default_context(cafile=authorities)
    return HTTPSConnection(url.hostname, url.port or 443, timeout=_PATIENCE, context=context)
