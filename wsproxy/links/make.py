"""Links, as the settings have them."""

from __future__ import annotations

from collections.abc import Callable

from wsproxy.config import LinksConfig
from wsproxy.errors import ConfigError
from wsproxy.interfaces import Target
from wsproxy.jose.verifier import Verifier
from wsproxy.links.key import linkKey
from wsproxy.links.links import Links, Location
from wsproxy.links.once import Once

__all__ = ["makeLinks"]


def makeLinks(config: LinksConfig, location: Location, asTarget: Callable[[str], Target], once: Once) -> Links:
    """
    @param config: with a key.
    @raise ConfigError: that is none.
    """
    try:
        key = linkKey((config.key or "").encode("utf-8", "surrogateescape"))
    except ConfigError as error:
        raise ConfigError(f"--link-key: {error}") from None
    return Links(Verifier(lambda: (key,), config.audience, config.issuer), location, asTarget, once)
