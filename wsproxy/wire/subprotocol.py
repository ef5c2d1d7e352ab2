"""Which subprotocol a session speaks, and the wire of that (RFC 6455 section 1.9)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from wsproxy.wire.wire import Base64Wire, BinaryWire, RawWire, Wire

__all__ = ["Draft", "choose", "wireOf"]

_OWN = ("binary", "base64")
"""Those that say how bytes are wrapped, by preference."""


class Draft(Enum):
    """What a client speaks that is older than the frames of RFC 6455, and carries base64 whatever the subprotocol."""

    HIXIE_75 = "hixie-75"
    HIXIE_76 = "hixie-76"


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


def wireOf(subprotocol: str | None, *, text: bool, raw: bool, draft: Draft | None = None) -> Wire:
    """
    @param text: accept text messages, as their UTF-8 bytes.
    @param raw: the client speaks plain TCP.
    @param draft: what it speaks instead of WebSocket.
    """
    if draft is not None:
        from wsproxy.wire.hixie import HixieWire  # late: --legacy, for some

        return HixieWire(closes=draft is Draft.HIXIE_76)
    if raw:
        return RawWire()
    return Base64Wire() if subprotocol == "base64" else BinaryWire(text=text)
