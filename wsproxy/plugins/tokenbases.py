"""What old classes know as C{websockify.token_plugins}: bases to derive from.

They are asked in a thread, C{lookup(token)}, and answer with host and port, or L{None}. The proxy's own plugins of
these names are elsewhere (L{wsproxy.tokens}), and do not block; what is here serves those who override a part of it.
"""

from __future__ import annotations

import json
import re
import stat
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

__all__ = [
    "BasePlugin",
    "BaseTokenAPI",
    "JSONTokenApi",
    "JWTTokenApi",
    "ReadOnlyTokenFile",
    "TokenFile",
    "TokenFileName",
    "TokenRedis",
    "UnixDomainSocketDirectory",
]

_TIMEOUT = 4.0
"""Seconds for an answer over HTTP, within those that a plugin is given."""

_ANSWER = 65536
"""Bytes of an answer that are read."""


class BasePlugin:
    """Knows no token."""

    def __init__(self, src: Any) -> None:
        self.source = src

    def lookup(self, token: str) -> Any:
        return None


class ReadOnlyTokenFile(BasePlugin):
    """A file with lines of C{token: host:port}, or a directory of such files; read once."""

    def __init__(self, src: Any) -> None:
        super().__init__(src)
        self._targets: dict[str, list[str]] | None = None

    def lookup(self, token: str) -> Any:
        if self._targets is None:
            self._targets = _read(Path(self.source))
        return self._targets.get(token)


class TokenFile(ReadOnlyTokenFile):
    """The same, read for each token."""

    def lookup(self, token: str) -> Any:
        self._targets = None
        return super().lookup(token)


class TokenFileName(BasePlugin):
    """A directory: the file that a token names holds C{host:port}."""

    def __init__(self, src: Any) -> None:
        super().__init__(src)
        if not Path(src).is_dir():
            raise ValueError(f"{src} is no directory")

    def lookup(self, token: str) -> Any:
        path = _inside(self.source, token)
        return path.read_text(encoding="utf-8").strip().rsplit(":", 1) if path and path.is_file() else None


class UnixDomainSocketDirectory(BasePlugin):
    """A directory of sockets, which tokens name."""

    def lookup(self, token: str) -> Any:
        path = _inside(self.source, token)
        if path is None or not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
            return None
        return ["unix_socket", str(path)]


class BaseTokenAPI(BasePlugin):
    """An URL with C{%s} for the token, whose answer is C{host:port}; or whatever L{process_result} makes of it."""

    def process_result(self, resp: Any) -> Any:
        return resp.text.strip().rsplit(":", 1)

    def lookup(self, token: str) -> Any:
        answer = _get(self.source % quote(token, safe=""))
        return self.process_result(answer) if answer.ok else None


class JSONTokenApi(BaseTokenAPI):
    """The same, whose answer is an object with C{host} and C{port}."""

    def process_result(self, resp: Any) -> Any:
        answer = resp.json()
        return answer["host"], answer["port"]


class JWTTokenApi(BasePlugin):
    """The file of a key: tokens that it has signed say where they lead, by C{host} and C{port}."""

    def lookup(self, token: str) -> Any:
        from wsproxy.jose.claims import TokenError  # late: joserfc, which nobody else needs
        from wsproxy.jose.keyfile import KeyFile
        from wsproxy.jose.verifier import Verifier

        try:
            claims = Verifier(KeyFile("--token-source", self.source).keys).verify(token)
        except TokenError:
            return None
        return claims["host"], claims["port"]


class TokenRedis(BasePlugin):
    """
    C{host[:port[:db[:password[:namespace]]]]}, each in quotes where it has a colon: its keys are tokens, of which each
    holds C{host:port}, or an object that has that for C{host}. Needs the package C{redis}, as it did.
    """

    def __init__(self, src: Any) -> None:
        super().__init__(src)
        fields = [quoted or bare for quoted, bare in _FIELD.findall(f":{src}")]
        if len(fields) > _PARTS:
            raise ValueError("expected host[:port[:db[:password[:namespace]]]]")
        padded: list[str] = (fields + [""] * _PARTS)[:_PARTS]
        server, port, db, password, namespace = padded
        self._server, self._port, self._db = server, int(port or 6379), int(db or 0)
        self._password = password or None
        self._namespace = f"{namespace}:" if namespace else ""

    def lookup(self, token: str) -> Any:
        redis = import_module("redis")
        with redis.Redis(
            host=self._server, port=self._port, db=self._db, password=self._password, socket_timeout=_TIMEOUT
        ) as client:
            found = client.get(self._namespace + token)
        if found is None:
            return None
        text = found.decode("utf-8").strip()
        return (json.loads(text)["host"] if text.startswith("{") else text).rsplit(":", 1)


_FIELD = re.compile(r':(?:"([^"]*)"(?=:|$)|([^:]*))')
_PARTS = 5


class _Response:
    """As much of an answer of C{requests} as L{BaseTokenAPI.process_result} is given."""

    def __init__(self, status: int, content: bytes) -> None:
        self.status_code = status
        self.ok = status < 400
        self.content = content

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        return json.loads(self.content)


def _get(url: str) -> _Response:
    try:
        with urlopen(url, timeout=_TIMEOUT) as answer:
            return _Response(answer.status, answer.read(_ANSWER))
    except HTTPError as error:
        with error:
            return _Response(error.code, b"")


def _read(source: Path) -> dict[str, list[str]]:
    targets: dict[str, list[str]] = {}
    for path in sorted(source.iterdir()) if source.is_dir() else [source]:
        for line in path.read_text(encoding="utf-8").splitlines():
            parts = re.split(r":\s+", line.strip(), maxsplit=1)
            if len(parts) == 2 and not line.lstrip().startswith("#"):
                targets[parts[0]] = parts[1].strip().rsplit(":", 1)
    return targets


def _inside(directory: str, token: str) -> Path | None:
    """A file of this directory, itself: no token leads elsewhere, by symlinks neither."""
    if token in ("", ".", "..") or "/" in token or "\0" in token:
        return None
    path = Path(directory).absolute() / token
    return None if path.is_symlink() else path
