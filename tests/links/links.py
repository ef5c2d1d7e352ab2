"""Links as the settings would make them, on a clock of the test's, and requests that come with one."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address

from tests.jose.tokens import NOW, signed
from wsproxy.interfaces import Request
from wsproxy.jose.verifier import Verifier
from wsproxy.links.key import linkKey
from wsproxy.links.links import Links
from wsproxy.links.once import Memory
from wsproxy.tokens.location import TokenLocation
from wsproxy.tokens.targets import asTarget

__all__ = ["SECRET", "Hour", "asked", "link", "linksAt"]

SECRET = b"a link's key has 32 bytes or more"


class Hour:
    """A time of day."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def linksAt(hour: Hour, once: Any = None, location: Any = None, **settings: Any) -> Links:
    key = linkKey(SECRET)
    verifier = Verifier(lambda: [key], now=hour, **settings)
    location = location or TokenLocation()
    return Links(verifier, location, asTarget, once if once is not None else Memory(hour), hour)


def link(**claims: Any) -> str:
    """A token; L{None} takes a claim away."""
    whole = {"target": "127.0.0.1:5900", "sub": "alice", "exp": NOW + 600, "iat": NOW, **claims}
    return signed({name: value for name, value in whole.items() if value is not None}, SECRET)


def asked(token: str | None = None, cookie: str | None = None, path: str = "/", **fields: Any) -> Request:
    """A request."""
    raw = fields.pop("rawQuery", "" if token is None else f"token={token}")
    headers = {"host": "proxy.example", **({} if cookie is None else {"cookie": cookie})}
    address = IPv4Address("TCP", "192.0.2.1", 1)
    return Request(
        path=path,
        headers=headers,
        peer=address,
        host=address,
        secure=fields.pop("secure", False),
        queryAll={} if token is None else {"token": (token,)},
        rawQuery=raw,
        **fields,
    )
