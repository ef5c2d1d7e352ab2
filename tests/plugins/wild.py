"""Plugins as they are found in the wild: written for the original, which they import from where it is not installed."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

from websockify.auth_plugins import AuthenticationError, BasicHTTPAuth  # type: ignore[import-not-found]
from websockify.token_plugins import BasePlugin  # type: ignore[import-not-found]

gate = threading.Event()
"""Opened by a test that lets hung calls return."""


class Table(BasePlugin):  # type: ignore[misc]
    """Tokens of its source: C{token=host:port,…}."""

    def lookup(self, token: str) -> Any:
        table = dict(pair.split("=") for pair in self.source.split(","))
        return table[token].split(":") if token in table else None


class Loops:
    """No base class; it asks asyncio, as those do that came from aiohttp."""

    def __init__(self, source: str) -> None:
        self.loop = asyncio.get_event_loop()
        self.port = source

    async def _ask(self, token: str) -> Any:
        await asyncio.sleep(0)
        return "localhost", int(self.port)

    def lookup(self, token: str) -> Any:
        return asyncio.get_event_loop().run_until_complete(self._ask(token))


class Answers:
    """Answers whatever it is told to, as an expression."""

    def __init__(self, source: str) -> None:
        self.answer = source

    def lookup(self, token: str) -> Any:
        return eval(self.answer, {"token": token})


class Raises:
    """Has the token in what it raises, as a dict's C{KeyError} does."""

    def __init__(self, source: str) -> None:
        self.table: dict[str, str] = {}

    def lookup(self, token: str) -> Any:
        return self.table[token]


class Exits:
    def __init__(self, source: str) -> None:
        pass

    def lookup(self, token: str) -> Any:
        sys.exit(3)


class Hangs:
    def __init__(self, source: str) -> None:
        pass

    def lookup(self, token: str) -> Any:
        gate.wait(60)
        return "localhost", 1


class NoConstructor(BasePlugin):  # type: ignore[misc]
    def __init__(self, source: str) -> None:
        raise RuntimeError(f"cannot connect to {source}")


class ExitingConstructor(BasePlugin):  # type: ignore[misc]
    def __init__(self, source: str) -> None:
        sys.exit()


class Users(BasicHTTPAuth):  # type: ignore[misc]
    """Whose name is his password, and may go where the target's port says so."""

    def validate_creds(self, username: str, password: str) -> bool:
        return bool(username == password)


class Asked:
    """Remembers what it was asked, and refuses as its source says: C{code message}."""

    def __init__(self, source: str | None = None) -> None:
        self.source = source
        self.asked: list[tuple[Any, Any, Any]] = []

    def authenticate(self, headers: Any, target_host: Any, target_port: Any) -> None:
        self.asked.append((headers, target_host, target_port))
        if self.source:
            code, _, message = self.source.partition(" ")
            raise AuthenticationError(
                log_msg="for the log",
                response_code=int(code),
                response_headers={"WWW-Authenticate": "Wild"},
                response_msg=message or None,
            )


class LateImport:
    """Imports only when it refuses."""

    def __init__(self, source: str) -> None:
        pass

    def authenticate(self, headers: Any, target_host: Any, target_port: Any) -> None:
        from websockify.auth_plugins import InvalidOriginError

        raise InvalidOriginError(expected="https://here", actual=headers.get("origin"))


class Asynchronous:
    """Of no contract there ever was. Refuses where it has a source."""

    def __init__(self, source: str) -> None:
        self.source = source

    async def authenticate(self, headers: Any, target_host: Any, target_port: Any) -> None:
        await asyncio.sleep(0)
        if self.source:
            raise AuthenticationError()


class New:
    """The new contract, which knows nothing of the original."""

    def __init__(self, source: str) -> None:
        self.source = source

    def resolve(self, request: Any, identity: Any) -> str:
        return self.source

    def authenticate(self, request: Any) -> None:
        pass


def function(source: str) -> None:
    """No class."""
