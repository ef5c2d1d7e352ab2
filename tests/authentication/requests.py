"""Requests with credentials."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from twisted.internet.address import IPv4Address

from wsproxy.interfaces import Request

__all__ = ["basic", "requestWith"]

_HERE = IPv4Address("TCP", "127.0.0.1", 6080)


def requestWith(**fields: Any) -> Request:
    """@param fields: of the request; C{headers} of any case."""
    headers = {name.lower(): value for name, value in fields.pop("headers", {}).items()}
    return Request(path="/", headers=headers, peer=_HERE, host=_HERE, secure=False, **fields)


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}
