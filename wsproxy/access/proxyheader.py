"""The header of the PROXY protocol: who a client of a proxy in front is, said before all that the client says.

Both versions, to be read and to be made, as HAProxy's doc/proxy-protocol.txt (revision of 2020) has them. No Twisted::

    1   PROXY TCP4 192.0.2.7 203.0.113.1 4321 443 CR LF          at most 107 bytes
        PROXY UNKNOWN … CR LF
    2   CR LF CR LF NUL CR LF Q U I T LF | 2x | family | length (2) | addresses, ports | TLVs
            x: 0 LOCAL, the proxy speaks for itself; 1 PROXY

A header names a client, or nobody: a health check, a client on a unix socket, a family that we do not know. TLVs are
passed over.

The verdict about the first bytes of a connection, once given, stands whatever follows, and falls at the same byte
however the stream was cut. It falls as early as it can: who speaks something else is not waited for.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

__all__ = ["VERSIONS", "Endpoint", "Malformed", "ProxyHeader", "makeHeader", "parseHeader"]

VERSIONS = ("v1", "v2")
"""What an operator calls them."""

_V1, _V2 = b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"
_V1_LIMIT = 107
"""Bytes of a line, with its CR LF: section 2.1."""

_FIXED = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESSES = {_TCP4: struct.Struct("!4s4sHH"), _TCP6: struct.Struct("!16s16sHH")}
_LENGTHS = {0: 0, 1: 12, 2: 36, 3: 216}
"""What the addresses of each family take: unspecified, IPv4, IPv6, unix."""

_STREAM_OR_DATAGRAM = 2
_PORT = re.compile(b"0|[1-9][0-9]{0,4}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """C{host} is an IP address without its scope."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """
    @ivar size: its bytes; what follows them is the client's.
    @ivar source: the client; L{None} where nobody is named.
    @ivar destination: what that connected to; L{None} likewise.
    """

    size: int
    source: Endpoint | None = None
    destination: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """What begins so is no header, for this reason."""

    why: str


def parseHeader(data: bytes | bytearray) -> ProxyHeader | Malformed | None:
    """
    @param data: the first bytes of a connection.
    @return: the header that they begin with; L{None} while that is incomplete. Raises nothing.
    """
    if not data:
        return None
    if data[0] == _V1[0]:
        return _parseLine(data)
    return _parseBinary(data)


def _begins(data: bytes | bytearray, signature: bytes) -> bool:
    size = min(len(data), len(signature))
    return data[:size] == signature[:size]


_NONE = Malformed("no PROXY header")


def _parseLine(data: bytes | bytearray) -> ProxyHeader | Malformed | None:
    if not _begins(data, _V1):
        return _NONE
    end = data.find(b"\r\n", 0, _V1_LIMIT)
    if end < 0:
        return None if len(data) < _V1_LIMIT else Malformed("a PROXY line that does not end")
    family, *fields = bytes(data[len(_V1) : end]).split(b" ")
    if family == b"UNKNOWN":
        return ProxyHeader(end + 2)
    source, destination = _endpoints(family, fields)
    if source is None or destination is None:
        return Malformed("a PROXY line that does not name two addresses and ports")
    return ProxyHeader(end + 2, source, destination)


_FAMILIES: dict[bytes, type[IPv4Address] | type[IPv6Address]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}


def _endpoints(family: bytes, fields: list[bytes]) -> tuple[Endpoint | None, Endpoint | None]:
    if family not in _FAMILIES or len(fields) != 4:
        return None, None
    source, destination, sourcePort, destinationPort = fields
    kind = _FAMILIES[family]
    return _endpoint(kind, source, sourcePort), _endpoint(kind, destination, destinationPort)


def _endpoint(kind: type[IPv4Address] | type[IPv6Address], host: bytes, port: bytes) -> Endpoint | None:
    try:
        address = kind(host.decode("ascii"))
    except ValueError:
        return None
    if b"%" in host or not _PORT.fullmatch(port) or int(port) > 65535:
        return None
    return Endpoint(str(address), int(port))


def _parseBinary(data: bytes | bytearray) -> ProxyHeader | Malformed | None:
    if not _begins(data, _V2):
        return _NONE
    if len(data) > 12 and data[12] not in (_LOCAL, _PROXY):
        return Malformed(f"a PROXY header of version and command {data[12]:#x}")
    if len(data) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(data)
    if command == _PROXY and not _isComplete(family, length):
        return Malformed(f"a PROXY header of family {family:#x} with {length} bytes")
    size = _FIXED.size + length
    if len(data) < size:
        return None
    if command == _LOCAL or family not in _ADDRESSES:
        return ProxyHeader(size)
    source, destination, *ports = _ADDRESSES[family].unpack_from(data, _FIXED.size)
    return ProxyHeader(size, _packed(source, ports[0]), _packed(destination, ports[1]))


def _isComplete(family: int, length: int) -> bool:
    """Whether there are such addresses, and room for them: section 2.2."""
    needed = _LENGTHS.get(family >> 4)
    return needed is not None and family & 15 <= _STREAM_OR_DATAGRAM and length >= needed


def _packed(address: bytes, port: int) -> Endpoint:
    return Endpoint(str(ip_address(address)), port)


def makeHeader(version: str, source: Endpoint | None, destination: Endpoint | None) -> bytes:
    """
    @param version: one of L{VERSIONS}.
    @param source: the client; L{None} where it has no address to be told.
    @param destination: what it connected to; where that has no such address either, the family's unspecified one.
    """
    if source is None:
        return b"PROXY UNKNOWN\r\n" if version == "v1" else _FIXED.pack(_V2, _LOCAL, 0, 0)
    addresses = _alike(ip_address(source.host), None if destination is None else ip_address(destination.host))
    ports = source.port, 0 if destination is None else destination.port
    number = addresses[0].version
    if version == "v1":
        hosts = "{} {}".format(*addresses)
        return "PROXY TCP{} {} {} {}\r\n".format(number, hosts, *ports).encode("ascii")
    family = _TCP4 if number == 4 else _TCP6
    block = _ADDRESSES[family].pack(addresses[0].packed, addresses[1].packed, *ports)
    return _FIXED.pack(_V2, _PROXY, family, len(block)) + block


_Address = IPv4Address | IPv6Address
_UNSPECIFIED: dict[int, _Address] = {4: IPv4Address(0), 6: IPv6Address(0)}


def _alike(source: _Address, destination: _Address | None) -> tuple[_Address, _Address]:
    """Both in one family: where they differ, IPv4 mapped into IPv6."""
    if destination is None:
        destination = _UNSPECIFIED[source.version]
    if source.version == destination.version:
        return source, destination
    return _mapped(source), _mapped(destination)


def _mapped(address: _Address) -> _Address:
    return IPv6Address(f"::ffff:{address}") if address.version == 4 else address
