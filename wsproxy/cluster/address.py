"""Where a Redis is, and who we are there::

    redis://[USER:PASSWORD@]HOST[:PORT][/DB][?cafile=FILE…]      rediss:// over TLS

No Twisted in here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from wsproxy.errors import ConfigError

__all__ = ["PORT", "Address", "parseURL"]

PORT = 6379

_FORM = "not redis://[USER:PASSWORD@]HOST[:PORT][/DB] or rediss://…"


@dataclass(frozen=True, slots=True)
class Address:
    """
    One Redis.

    @ivar tls: speak it; the certificate must be one of C{host}.
    @ivar authorities: the file of those to trust instead of the system's.
    """

    host: str
    port: int = PORT
    db: int = 0
    user: str | None = None
    password: str | None = None
    tls: bool = False
    authorities: str | None = None

    def __str__(self) -> str:
        """Without what is secret, for the log."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}"

    __repr__ = __str__


def parseURL(option: str, url: str, also: Iterable[str] = ()) -> tuple[Address, dict[str, str]]:
    """
    @param option: who was told this, for complaints, in which nothing of the URL appears: it holds a password.
    @param also: parameters that it may have beside C{cafile}.
    @return: where that is, and those parameters.
    @raise ConfigError: it is no such URL.
    """
    try:
        parts = urlsplit(url.strip())
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else ())
        cafile = parameters.pop("cafile", None)
        address = _address(parts, cafile)
    except ValueError:
        raise ConfigError(f"{option}: {_FORM}") from None
    if cafile is not None and not cafile.startswith("/"):
        raise ConfigError(f"{option}: cafile in the URL: an absolute path is wanted")
    for name in parameters:
        if name not in also:
            known = ", ".join(("cafile", *also))
            raise ConfigError(f"{option}: there are no parameters in a URL but {known}")
    return address, parameters


def _address(parts: SplitResult, authorities: str | None) -> Address:
    """@raise ValueError: there is none."""
    host, path = parts.hostname, parts.path.removeprefix("/")
    if parts.scheme not in ("redis", "rediss") or not host or parts.fragment or not (path or "0").isdecimal():
        raise ValueError
    return Address(
        host=host,
        port=PORT if parts.port is None else parts.port,
        db=int(path or "0"),
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=parts.scheme == "rediss",
        authorities=authorities,
    )
