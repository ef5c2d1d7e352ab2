"""C{--token-plugin}: the resolver that the settings name.

::

    TokenFile, TokenFileName, JSONTokenApi, …     ours: looked up by TokenResolver
    package.module.Class     lookup(token)        likewise, in a thread
                             resolve(request, identity), or called so: asked itself, and finds its token as it likes
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wsproxy.config import TokensConfig
from wsproxy.errors import ConfigError
from wsproxy.escape import escape
from wsproxy.interfaces import AnyResolver
from wsproxy.plugins.load import load
from wsproxy.plugins.oldtokens import OldTokens, asTokenPlugin
from wsproxy.tokens.location import TokenLocation
from wsproxy.tokens.names import TokenFileName, UnixDomainSocketDirectory
from wsproxy.tokens.resolver import TokenResolver, TokenSource
from wsproxy.tokens.tokenfile import ReadOnlyTokenFile, TokenFile

__all__ = ["locationOf", "makeResolver"]

_OPTION = "--token-plugin"


def locationOf(config: TokensConfig) -> TokenLocation:
    """@return: where tokens are to be found."""
    return TokenLocation(config.host, config.path, config.header, config.cookie)


def makeResolver(
    config: TokensConfig, reactor: Any, others: Mapping[str, Callable[[str], Any]], *, told: bool = False
) -> AnyResolver:
    """
    @param config: by which somebody knows tokens.
    @param others: by their names, what else makes a L{TokenSource<wsproxy.tokens.resolver.TokenSource>} of a source.
    @param told: this is one of several processes, and the first has told what there is to tell of the sources.
    @raise ConfigError: there is no such plugin, or it cannot be made of its source.
    """
    if config.file is not None:
        return TokenResolver(locationOf(config), TokenFile(config.file, reactor, told=told))
    if config.plugin is None:
        raise ConfigError(f"{_OPTION}: who knows where tokens lead?")
    ours: dict[str, Callable[[str], Any]] = {
        "TokenFile": lambda source: TokenFile(source, reactor, told=told),
        "ReadOnlyTokenFile": lambda source: ReadOnlyTokenFile(source, reactor, told=told),
        "TokenFileName": TokenFileName,
        "BaseTokenAPI": lambda source: _api("BaseTokenAPI", source, reactor),
        "JSONTokenApi": lambda source: _api("JSONTokenApi", source, reactor),
        "UnixDomainSocketDirectory": UnixDomainSocketDirectory,
        **others,
    }
    make = load(config.plugin, ours, _OPTION)
    plugin = make(config.source)
    sockets = False
    if make not in ours.values():
        sockets = config.sockets and not any(kind.__name__ in _OTHERS_WORDS for kind in type(plugin).__mro__)
        plugin = asTokenPlugin(plugin, f"{_OPTION} {escape(config.plugin)}", reactor)
        if not isinstance(plugin, OldTokens):
            resolver: AnyResolver = plugin
            return resolver
    return TokenResolver(locationOf(config), plugin, sockets=sockets)


_OTHERS_WORDS = ("BaseTokenAPI", "TokenRedis", "JWTTokenApi")
"""Whose classes answer what a service says, a database, or a token itself."""


def _api(name: str, source: str, reactor: Any) -> TokenSource:
    from wsproxy.tokens import api  # late: an HTTP client, for some

    kind: type[api.BaseTokenAPI] = getattr(api, name)
    return kind(source, reactor)
