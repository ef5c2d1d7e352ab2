"""Who a client is by its address, and how addresses are written in logs and to plugins.

On a socket that takes both families (C{--listen 6080}) an IPv4 client appears as C{::ffff:192.0.2.1}, RFC
4291 section 2.5.5.2. Beyond this module it is C{192.0.2.1} everywhere, so that no rule has to be written
twice.
"""

from __future__ import annotations

from ipaddress import IPv6Address as _IPv6

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from wsproxy.escape import escape

__all__ = ["printable", "unmapped", "whom"]


def unmapped(address: IAddress) -> IAddress:
    """C{address}, as an L{IPv4Address} if it is IPv4 mapped into IPv6, otherwise unchanged."""
    if isinstance(address, IPv6Address) and address.host.lower().startswith("::ffff:"):
        mapped = _IPv6(address.host).ipv4_mapped
        if mapped is not None:
            return IPv4Address(address.type, str(mapped), address.port)
    return address


def printable(address: IAddress) -> str:
    """
    How C{address} is shown: C{192.0.2.1:80}, C{[2001:db8::1]:80}, C{[fe80::1%eth0]:80}, C{unix:/path}, or
    C{unix} for the nameless end of a unix socket; C{192.0.2.1} where its port is not known. One line, whatever a client
    chose for its name.
    """
    address = unmapped(address)
    match address:
        case IPv4Address(port=0) | IPv6Address(port=0):
            return address.host
        case IPv4Address():
            return f"{address.host}:{address.port}"
        case IPv6Address():
            scope = f"%{address.scopeID}" if address.scopeID and "%" not in address.host else ""
            return f"[{address.host}{scope}]:{address.port}"
        case UNIXAddress():
            return f"unix:{_escaped(address.name)}" if address.name else "unix"
        case HostnameAddress():
            return f"{_escaped(address.hostname)}:{address.port}"
        case _:
            return str(address)


def whom(client: IAddress, peer: IAddress) -> str:
    """How a client is shown: itself, and the proxy in front where it came by one."""
    client, peer = unmapped(client), unmapped(peer)
    return printable(client) if client == peer else f"{printable(client)} via {printable(peer)}"


def _escaped(name: bytes) -> str:
    return escape(name.decode("utf-8", "backslashreplace"), None)
