"""The request that C{--explain} asks about: out of words, where others come from a socket."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from wsproxy.access.forwarded import TrustedProxies
from wsproxy.access.peer import unmapped
from wsproxy.config import Config
from wsproxy.errors import ConfigError
from wsproxy.escape import escape
from wsproxy.frontend.query import parseQuery
from wsproxy.interfaces import Request

__all__ = ["asRequest"]

_SCHEMES = {"ws": False, "http": False, "wss": True, "https": True}


def asRequest(config: Config) -> Request:
    """
    @return: an upgrade of C{--explain}'s URL, with the headers of C{--explain-header} beside the C{Host} of that, from
        where C{--explain-client} says.
    @raise ConfigError: it cannot be understood; what it holds is not told, which may be a secret.
    """
    wanted = config.inspection
    url = _split(wanted.explain or "")
    headers = _headers(url.netloc.rpartition("@")[2] or "localhost", wanted.headers)
    peer = _address(wanted.client or "127.0.0.1")
    trusted = config.proxies.trusted
    return Request(
        path=url.path or "/",
        headers=headers,
        peer=peer,
        host=IPv4Address("TCP", "127.0.0.1", _port(config)),
        secure=_SCHEMES.get(url.scheme, config.tls is not None and config.tls.only),
        queryAll=parseQuery(url.query),
        rawQuery=url.query,
        forwarded=TrustedProxies(trusted).read(peer, None, headers) if trusted else None,
        explaining=True,
    )


def _split(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        proper = url.scheme in _SCHEMES and bool(url.hostname) if url.scheme else text.startswith("/")
    except ValueError:
        proper = False
    if not proper or not text.isprintable():
        raise ConfigError("--explain: expected ws://HOST/PATH, or with wss:, http: or https:, or /PATH")
    return url


def _headers(host: str, lines: tuple[str, ...]) -> dict[str, str]:
    headers = {"host": host}
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon or not name or not line.isprintable():
            raise ConfigError("--explain-header: expected NAME: VALUE")
        if name in headers and name != "host":
            value = f"{headers[name]}{'; ' if name == 'cookie' else ', '}{value}"
        headers[name] = value
    return headers


def _address(text: str) -> IAddress:
    if text == "unix":
        return UNIXAddress(None)
    try:
        address = ip_address(text)
    except ValueError:
        raise ConfigError(f"--explain-client {escape(text, None)}: expected an IP address, or unix") from None
    family = IPv4Address if address.version == 4 else IPv6Address
    return unmapped(family("TCP", str(address), 0))


def _port(config: Config) -> int:
    """Of the first listener, where it is as simple as that."""
    word = (config.listening.listen or ("0",))[0].rpartition(":")[2]
    return int(word) if word.isascii() and word.isdigit() and len(word) < 6 else 0
