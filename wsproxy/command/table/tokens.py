"""The options about tokens, and what they mean together: a source is what its plugin makes of it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from wsproxy.command.kinds import DISCREET, ON, SECRET, WORD, Kind, isLiteral, secretVariable
from wsproxy.command.option import Need, Option, needs
from wsproxy.command.place import absolute
from wsproxy.errors import ConfigError
from wsproxy.plugins.alias import isOriginals
from wsproxy.tokens.location import PLACE, checkTemplate

__all__ = ["TOKENS", "TOKEN_PLUGINS", "settleTokens"]

TOKEN_PLUGINS = ("token-plugin", "target-config")
"""Of these there is one, or none."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2, RFC 6265 section 4.1.1


def _knowsTokens(given: Mapping[str, Any]) -> bool:
    return any(name in given for name in (*TOKEN_PLUGINS, "link-key"))


def _named(name: str, word: str) -> str:
    if not _NAME.fullmatch(word):
        raise ConfigError(f"--{name} {word}: not a name")
    return word


def _lines(name: str, path: str) -> str:
    """The absolute path of a file, or of a directory of files."""
    place = absolute(path)
    try:
        if os.path.isdir(place):
            os.scandir(place).close()
        elif os.path.exists(place) and not os.path.isfile(place):
            raise OSError(0, "not a regular file")
        else:
            open(place, "rb").close()
    except OSError as error:
        raise ConfigError(f"--{name} {path}: {error.strerror}") from None
    return place


_TOKENS = (Need(_knowsTokens, "needs --token-plugin; who knows tokens?"),)

TOKENS = (
    Option(
        "token-plugin", "tokens.plugin", Kind("CLASS", WORD.parse),
        "Who says where each token leads, instead of --target: TokenFile, ReadOnlyTokenFile, TokenFileName, "
        "BaseTokenAPI, JSONTokenApi, JWTTokenApi, TokenRedis, UnixDomainSocketDirectory, or any package.module.Class, "
        "also one that was written for websockify.",
    ),
    Option(
        "token-source", "tokens.source", DISCREET,
        "What it is told: a file, a directory, a URL with %s for the token, or whatever else CLASS takes. A secret "
        "is @FILE or env:NAME.",
        needs=(needs("token-plugin"),),
    ),
    Option(
        "target-config", "tokens.file", Kind("FILE", _lines),
        "A file with a line 'TOKEN: HOST:PORT' for each token, or a directory of such files: as --token-plugin "
        "TokenFile.",
    ),
    Option("host-token", "tokens.host", ON, "Take the Host for the token, instead of ?token=.", needs=_TOKENS),
    Option(
        "token-path", "tokens.path", Kind("PATH", checkTemplate),
        f"Look for a token in the path, too: /vnc/{PLACE}.", needs=_TOKENS,
    ),
    Option(
        "token-header", "tokens.header", Kind("NAME", _named), "Look for a token in this header, too.", needs=_TOKENS
    ),
    Option(
        "token-cookie", "tokens.cookie", Kind("NAME", _named), "Look for a token in this cookie, too.", needs=_TOKENS
    ),
)  # fmt: skip


def settleTokens(given: Mapping[str, Any], groups: dict[str, dict[str, Any]]) -> None:
    """
    Make of a source what its plugin does.

    @raise ConfigError: that cannot be.
    """
    if "target-config" in given and "token-plugin" in given:
        raise ConfigError(f"--target-config {given['target-config']}: clashes with --token-plugin")
    plugin = given.get("token-plugin")
    if plugin is None:
        return
    module, _, name = plugin.rpartition(".")
    if name not in _WANTED or (module and not isOriginals(module)):
        return
    word = given.get("token-source", "")
    if not word:
        raise ConfigError(f"--token-plugin {name}: needs --token-source: {_WANTED[name]}")
    source: str = groups["tokens"]["source"]
    if name in _PATHS:
        # what a file or a variable holds may be the key itself: then it is in no complaint about a path
        if secretVariable(word) is not None and not os.path.exists(absolute(source)):
            raise ConfigError(f"--token-source {word}: there is no such file")
        path = groups["tokens"]["source"] = absolute(word[1:] if word.startswith("@") else source)
        if name in _FILES:  # as with --target-config, which is the same
            _lines("token-source", path)
    elif isLiteral(word) and _hasPassword(name, word):
        SECRET.parse("token-source", word)  # says what is wrong with that


def _hasPassword(plugin: str, source: str) -> bool:
    if plugin == "TokenRedis":
        return len(source.split(":")) > 3 and bool(source.split(":")[3])
    try:
        return urlsplit(source).password is not None
    except ValueError:
        return False  # it is told by whoever takes it


_PATHS = ("TokenFile", "ReadOnlyTokenFile", "TokenFileName", "JWTTokenApi", "UnixDomainSocketDirectory")

_FILES = ("TokenFile", "ReadOnlyTokenFile")

_WANTED = {
    "TokenFile": "a file, or a directory of files",
    "ReadOnlyTokenFile": "a file, or a directory of files",
    "TokenFileName": "a directory",
    "BaseTokenAPI": "a URL with %s for the token",
    "JSONTokenApi": "a URL with %s for the token",
    "JWTTokenApi": "a file with a key",
    "TokenRedis": "HOST[:PORT[:DB[:PASSWORD[:NAMESPACE]]]]",
    "UnixDomainSocketDirectory": "a directory",
}
