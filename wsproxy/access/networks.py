"""Sets of addresses, as options name them: C{192.0.2.7}, C{192.0.2.0/24}, C{2001:db8::/32}, C{unix}.

One address has several names, and a rule about one of them is about all::

    ::ffff:192.0.2.7   mapped (RFC 4291 section 2.5.5.2)      ─┐
    64:ff9b::c000:207  through NAT64 (RFC 6052 section 2.1)   ─┴─► 192.0.2.7
    0.0.0.0            this machine, to connect(2)            ───► 127.0.0.1
    ::                                                        ───► ::1

Both what is in a set and what is looked for is normalised so. Prefixes of an operator's own for NAT64 are his to name:
where in such an address the one of IPv4 stands depends on their length.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from twisted.internet.address import HostnameAddress, UNIXAddress
from twisted.internet.address import IPv4Address as TCP4
from twisted.internet.address import IPv6Address as TCP6
from twisted.internet.interfaces import IAddress

from wsproxy.errors import ConfigError
from wsproxy.escape import escape

__all__ = ["UNIX", "Networks", "normalised"]

UNIX = "unix"
"""The word for everybody who comes by a unix socket."""

_EMBEDDING = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
"""Where an address of IPv4 is the last 32 bits of one of IPv6."""

_BITS, _IPV4_BITS = 96, 0xFFFFFFFF
_UNSPECIFIED: dict[IPv4Address | IPv6Address, IPv4Address | IPv6Address] = {
    IPv4Address("0.0.0.0"): IPv4Address("127.0.0.1"),
    IPv6Address("::"): IPv6Address("::1"),
}

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network


@lru_cache(maxsize=4096)  # 3 µs for each look at an address, else
def normalised(text: str) -> IPv4Address | IPv6Address | None:
    """@return: the address that C{text} names, without its scope; L{None} where it is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return _plain(address)


def _plain(address: _Address) -> _Address:
    if isinstance(address, IPv6Address) and any(address in network for network in _EMBEDDING):
        address = IPv4Address(int(address) & _IPV4_BITS)
    return _UNSPECIFIED.get(address, address)


class Networks:
    """
    @param texts: addresses, networks in CIDR notation, and C{unix}.
    @param option: whose they are, for the complaint: C{--allow}, say, or C{--trusted-proxy proxy:}.
    @raise ConfigError: one of them is nothing of this.
    """

    def __init__(self, texts: Iterable[str], option: str = "") -> None:
        self._unix = False
        # by version and length: however many there are, one look for each length
        self._prefixes: dict[tuple[int, int], set[int]] = {}
        for text in texts:
            if text == UNIX:
                self._unix = True
            else:
                self._add(_parse(text, option))

    def __bool__(self) -> bool:
        return self._unix or bool(self._prefixes)

    def _add(self, network: _Network) -> None:
        shift = network.max_prefixlen - network.prefixlen
        self._prefixes.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)

    def contains(self, address: IAddress | str) -> bool:
        """
        @param address: of a socket, or a literal one. A text that is none is in no set, and no text is C{unix}: what
            a proxy in front writes of its clients is.
        """
        match address:
            case str():
                return self._has(normalised(address))
            case TCP4() | TCP6():
                return self._has(normalised(address.host))
            case HostnameAddress():
                return self._has(normalised(address.hostname.decode("latin-1")))
            case UNIXAddress():
                return self._unix
            case _:
                return False

    def _has(self, address: _Address | None) -> bool:
        if address is None:
            return False
        version, number = address.version, int(address)
        return any(of == version and number >> shift in known for (of, shift), known in self._prefixes.items())


def _parse(text: str, option: str) -> _Network:
    base, slash, length = text.partition("/")
    try:
        if "%" in text or (slash and not length.isdecimal()):
            raise ValueError("a scope, or a mask")
        network = ip_network(text, strict=False)
    except ValueError:
        raise _error(text, option, "expected an address, a network such as 192.0.2.0/24, or unix") from None
    if ip_address(base) != network.network_address:
        raise _error(text, option, f"has bits beyond its length; {network} is meant, or one address?")
    return _plainNetwork(network)


def _plainNetwork(network: _Network) -> _Network:
    if isinstance(network, IPv6Network) and any(network.subnet_of(wider) for wider in _EMBEDDING):
        address = IPv4Address(int(network.network_address) & _IPV4_BITS)
        network = IPv4Network((address, network.prefixlen - _BITS))
    if network.prefixlen == network.max_prefixlen:
        return ip_network(_plain(network.network_address))
    return network


def _error(text: str, option: str, why: str) -> ConfigError:
    between = "" if option.endswith(":") else " "
    return ConfigError(f"{option}{between}{escape(text, None) or repr(text)}: {why}".lstrip())
