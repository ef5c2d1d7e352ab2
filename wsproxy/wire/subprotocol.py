"""Which subprotocol a session speaks, and the wire of that (RFC 6455 section 1.9)."""

from __future__ import annotations

from collections.abc import Sequence

from wsproxy.wire.wire import Base64Wire, BinaryWire, RawWire, Wire

__all__ = ["choose", "wireOf"]

_OWN = ("binary", "base64")
"""Those that say how bytes are wrapped, by preference."""


def choose(offered: Sequence[str], accepted: Sequence[str]) -> str | None:
    """
    @param offered: by the client, in its order.
    @param accepted: names of other protocols, whose bytes go in binary messages.
    @return: the one to agree on; L{None} for none.
    """
    for name in (*_OWN, *accepted):
        if name in offered:
            return name
    return None


def wireOf(subprotocol: str | None, *, text: bool, raw: bool) -> Wire:
    """
    @param text: accept text messages, as their UTF-8 bytes.
    @param raw: the client speaks plain TCP.
    """
    if raw:
        return RawWire()
    return Base64Wire() if subprotocol == "base64" else BinaryWire(text=text)
