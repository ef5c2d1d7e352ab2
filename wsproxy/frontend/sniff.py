"""What a connection speaks, told from its first bytes: the switch asks before it consumes any.

Sans-IO. Every protocol is a row of allowed byte values, one element for each position::

    TLS record       16 03
    SSLv2 hello      80-ff xx 01 00 02,  or 80-ff xx 01 03 00-04 (an SSLv2 hello that offers SSL 3 or TLS)
    Flash policy     "<policy-file-request/>" NUL
    HTTP             a known method and a space, perhaps behind an empty line (RFC 9112 section 2.2)

No two rows fit the same bytes, and none is the beginning of another: a verdict, once given, stands whatever
follows, and falls at the same byte however the stream was cut.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["LIMIT", "Kind", "sniff"]


class Kind(Enum):
    """What the first bytes announce."""

    TLS = "TLS"
    SSLV2 = "SSLv2"
    FLASH_POLICY = "Flash policy request"
    HTTP = "HTTP"
    OTHER = "something else"


_HIGH = bytes(range(0x80, 0x100))
_ANY = bytes(range(0x100))

# Any token is a valid method, but "SSH-2.0-OpenSSH_9.6 Debian" and "RFB 003.008" begin with one as well: only
# those in use count. PRI opens HTTP/2 without negotiation, which is HTTP's to refuse.
_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"PRI")


def _literal(text: bytes) -> tuple[bytes, ...]:
    return tuple(text[at : at + 1] for at in range(len(text)))


_ROWS: tuple[tuple[Kind, tuple[bytes, ...]], ...] = (
    (Kind.TLS, _literal(b"\x16\x03")),
    # The version tells a hello from a telnet client's IAC WILL ECHO, ff fb 01.
    (Kind.SSLV2, (_HIGH, _ANY, *_literal(b"\x01\x00\x02"))),
    (Kind.SSLV2, (_HIGH, _ANY, *_literal(b"\x01\x03"), b"\x00\x01\x02\x03\x04")),
    (Kind.FLASH_POLICY, _literal(b"<policy-file-request/>\x00")),
    *((Kind.HTTP, _literal(before + method + b" ")) for before in (b"", b"\r\n") for method in _METHODS),
)

LIMIT = max(len(row) for _, row in _ROWS)
"""No verdict needs more bytes than this (23, the length of a Flash policy request)."""


def sniff(prefix: bytes) -> Kind | None:
    """
    Classify a connection by what it has sent so far; at most the first L{LIMIT} bytes are looked at.

    @return: the verdict, or L{None} while more than one is possible: never for L{LIMIT} bytes or more.
    """
    if prefix.startswith(b"GET "):
        return Kind.HTTP  # a row like the others, and nearly everybody's
    undecided = False
    for kind, row in _ROWS:
        if all(byte in allowed for byte, allowed in zip(prefix, row, strict=False)):
            if len(prefix) >= len(row):
                return kind
            undecided = True
    return None if undecided else Kind.OTHER
