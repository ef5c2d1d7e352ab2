"""C{--print-config}: all that is in force, as a file that C{--config} takes, and where each of it comes from.

Where there are routes, what stands above them for each of them is in no L{Config} but theirs: so what is told is what
was given, not what has become of it.

Secrets are told as they were given, C{@FILE} or C{env:NAME}; one that was given itself is left out, and says so.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from wsproxy.command.given import Given, saying
from wsproxy.command.kinds import isLiteral
from wsproxy.command.option import PROGRAM, Option
from wsproxy.command.options import HEADINGS, TABLE, byHeading
from wsproxy.command.place import absolute, placed
from wsproxy.command.settings import Layers
from wsproxy.config import Config, ListeningConfig
from wsproxy.endpoints.weburl import discreetTarget

__all__ = ["printed"]

_CALLS = ("file", "inspection")
"""Groups that are about this call alone."""

_PLACES = ("FILE", "DIR", "ENDPOINT")

_SOURCES = {"auth-source": "auth-plugin", "token-source": "token-plugin"}

_FILES = (
    *("TokenFile", "ReadOnlyTokenFile", "TokenFileName", "UnixDomainSocketDirectory", "JWTTokenApi"),
    "HtpasswdAuth",
)
_OPEN = ("BaseTokenAPI", "JSONTokenApi", "ExpectOrigin", "ClientCertCNAuth")
"""Plugins whose source is no secret: a path, and something else."""


def printed(layers: Layers, config: Config, directory: str) -> Iterator[str]:
    """
    @param config: what C{layers} mean.
    @param directory: where the command line was said.
    @return: lines of TOML.
    """
    whole = layers.whole()
    with placed(directory):
        if PROGRAM in whole:
            yield f"# -- {_quoted(whole[PROGRAM])}: from the command line, and only from there"
        top = replace(config, listening=replace(config.listening, listen=_topListens(config)))
        for _, options in byHeading():
            lines = [line for option in options for line in _line(option, whole, top, defaults=True)]
            if lines:
                yield f"\n# {HEADINGS[options[0].path[0]]}"
                yield from lines
        known = iter(config.listeners)
        for section in layers.listeners:
            yield f"\n[[listener]]  # {section.origin}"
            own = [*islice(known, len(section.given["listen"]))]
            listening = ListeningConfig(tuple(each.listen for each in own))
            there = replace(config, listening=listening, tls=own[0].tls)
            yield from _own(layers, section.given, layers.ofListener(section), there)
        for route, kept in zip(layers.settings.routes, config.routes, strict=True):
            yield f"\n[[route]]  # {route.origin}"
            if route.host is not None:
                yield f"host = {_quoted(route.host)}"
            yield f"path = {_quoted(route.path)}"
            yield from _own(layers, route.given, layers.ofRoute(route), kept.config)


def _topListens(config: Config) -> tuple[str, ...]:
    """Those that are in no section."""
    listens = config.listening.listen
    return listens[: len(listens) - len(config.listeners)]


def _own(layers: Layers, own: Given, given: Given, config: Config) -> Iterator[str]:
    """What a section says itself, and the command line does not say otherwise."""
    for name, word in own.items():
        if word is False and name not in layers.words:
            yield f"{name} = false  # {own.origins[name]}"
    for option in TABLE:
        if given.origins.get(option.name) == own.origins.get(option.name, 0):
            yield from _line(option, given, config, defaults=False)


def _line(option: Option, given: Mapping[str, Any], config: Config, *, defaults: bool) -> Iterator[str]:
    if option.path[0] in _CALLS:
        return
    if option.name not in given:
        value = getattr(getattr(config, option.path[0]), option.path[1], None)
        if option.name == "cert" and value is not None:
            yield f"cert = {_quoted(value)}  # it is in the current directory"
        elif defaults and (not option.kind.placeholder or option.default not in (None, ())):
            yield f"# {option.name} = {_toml(option.default) if option.kind.placeholder else 'false'}: the default"
        return
    origin = given.origins.get(option.name, "the command line") if isinstance(given, Given) else ""
    word = given[option.name]
    if not option.kind.placeholder:
        yield f"{option.name} = true  # {origin}"
    elif option.kind.secret or _isDiscreet(option, word):
        yield from _secret(option, word, given, origin)
    else:
        if option.kind.placeholder in _PLACES:
            with saying(given, option.name):
                word = option.parse(word)
        yield f"{option.name} = {_toml(word)}  # {origin}"


def _isDiscreet(option: Option, word: Any) -> bool:
    """Whether it is a target that is not for everybody's eyes."""
    return option.name == "target" and (not isLiteral(word) or discreetTarget(word) != word)


def _secret(option: Option, word: str, given: Mapping[str, Any], origin: object) -> Iterator[str]:
    plugin = str(given.get(_SOURCES.get(option.name, ""), "")).rpartition(".")[2]
    place = os.path.dirname(getattr(origin, "file", "")) or absolute(".")
    shown = None
    if word.startswith("@"):
        shown = "@" + os.path.join(place, word[1:])
    elif not isLiteral(word):
        shown = word
    elif option.name == "auth" and word.startswith("file:"):
        shown = f"file:{os.path.join(place, word.removeprefix('file:'))}"
    elif option.name == "cluster" and "@" not in word and "key=" not in word:
        shown = word
    elif plugin in _FILES:
        shown = os.path.join(place, word)
    elif plugin in _OPEN and "@" not in word:
        shown = word
    if shown is None:
        yield f"# {option.name}: a secret that was given itself, by {origin}; say it as @FILE or env:NAME"
    else:
        yield f"{option.name} = {_quoted(shown)}  # {origin}"


def _toml(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, (int, float)):
        return f"{value:g}"
    return value if _NUMBER.fullmatch(value) else _quoted(value)


_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,17})(?:\.[0-9]+)?")


def _quoted(value: Any) -> str:
    """TOML's basic strings escape as JSON's do, of what is not ASCII as well; but for DEL, and lone surrogates."""
    text = " ".join(value) if isinstance(value, tuple) else str(value)
    return json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False).replace("\x7f", "\\u007f")
