"""What was given, wherever: by the names of the L{table<wsproxy.command.options>}, and a L{Config} out of it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from wsproxy.command.kinds import secretVariable
from wsproxy.command.option import PROGRAM, Option
from wsproxy.command.options import TABLE
from wsproxy.command.table.authentication import AUTHENTICATORS, settleAuthentication
from wsproxy.command.table.tokens import TOKEN_PLUGINS, settleTokens
from wsproxy.config import GROUPS, Config
from wsproxy.endpoints.weburl import discreetTarget
from wsproxy.errors import ConfigError

__all__ = ["forgetSecrets", "makeConfig", "problemsIn"]

_OPTIONS = {option.name: option for option in TABLE}
_CERTIFICATE = "self.pem"
_WAYS = (PROGRAM, "target", "link-key", *TOKEN_PLUGINS)
"""Of what says where the data goes, one."""
_CLASHES = (
    ("every-port", "listen"),
    ("inetd", "listen"),
    ("inetd", "every-port"),
    ("traffic", "inetd"),
    ("target-cafile", "target-insecure"),
)
"""Pairs that make no sense together. C{--traffic} writes to stdout, which may be inetd's client."""


_NOTHING_RAW = (
    "raw", "cert", "web", "web-auth", "origin", "subprotocol", "text", "link-key", *AUTHENTICATORS, *TOKEN_PLUGINS,
)  # fmt: skip
"""Options that mean nothing where no client speaks HTTP."""


def makeConfig(given: Mapping[str, Any], certificate: str | None = _CERTIFICATE) -> Config:
    """
    @param given: the word or, of a repeatable option, the words that follow each name; of a flag, anything. Behind
        L{PROGRAM}, the program and its arguments.
    @param certificate: the file that is taken for C{--cert}, where there is one and nothing else was said.
    @raise ConfigError: it makes no sense, in one line.
    """
    if certificate is not None and os.path.exists(certificate) and "raw-only" not in given:
        given = {"cert": certificate, **given}
    _checkProgram(given)
    if not any(name in given for name in _WAYS):
        raise ConfigError("--target is missing: say where the data goes, or demo: for a first look")
    _checkNeeds(given)
    _checkClashes(given)
    return _config(given)


def problemsIn(given: Mapping[str, Any]) -> list[str]:
    """@return: what L{makeConfig} would raise of each option by itself, where it raises the first."""
    problems = []
    for option in _of(given):
        try:
            option.parse(given[option.name])
        except ConfigError as error:
            problems.append(str(error))
    return problems


def forgetSecrets(given: Mapping[str, Any]) -> None:
    """Take secrets out of the environment: whatever is started here inherits the rest."""
    for name, word in given.items():
        if name in _OPTIONS and _OPTIONS[name].kind.secret:
            for each in word if isinstance(word, list) else (word,):
                variable = secretVariable(each)
                if variable is not None:
                    os.environ.pop(variable, None)


def _checkProgram(given: Mapping[str, Any]) -> None:
    """What follows a literal C{--}, instead of a target."""
    if PROGRAM not in given:
        return
    words: tuple[str, ...] = given[PROGRAM]
    if not words or not words[0]:
        raise ConfigError("--: a program is wanted behind it")
    for name in ("target", *TOKEN_PLUGINS):
        if name in given:
            _refuse(given, name, f"clashes with the program, -- {words[0]}")


def _checkNeeds(given: Mapping[str, Any]) -> None:
    for option in _of(given):
        for need in option.needs:
            if not need.met(given):
                _refuse(given, option.name, need.why)


def _checkClashes(given: Mapping[str, Any]) -> None:
    for name, other in _CLASHES:
        if name in given and other in given:
            _refuse(given, name, f"clashes with --{other}")
    first, *others = [name for name in AUTHENTICATORS if name in given] or [""]
    if others:
        _refuse(given, others[0], f"clashes with --{first}; one of them says who may come in")
    if first and "raw" in given:
        _refuse(given, "raw", f"clashes with --{first}; such clients have nothing to show")
    for name in TOKEN_PLUGINS:
        for other, why in (("target", ""), ("raw", "; such clients have no token")):
            if name in given and other in given:
                _refuse(given, other, f"clashes with --{name}{why or ', which says where sessions lead'}")
    for name in _NOTHING_RAW:
        if "raw-only" in given and name in given:
            _refuse(given, name, "clashes with --raw-only, which knows nothing but bytes")
    workers = given.get("workers", "1")
    if _OPTIONS["workers"].parse(workers) > 1:
        for option in _of(given):
            if option.alone and option.parse(given[option.name]):
                _refuse(given, option.name, f"clashes with --workers {workers}")


def _refuse(given: Mapping[str, Any], name: str, why: str) -> None:
    """Complain about this option, and what it was told unless that is a secret."""
    option = _OPTIONS[name]
    silent = not option.kind.placeholder or option.kind.secret
    word = "" if silent else f" {discreetTarget(str(given[name]))}" if given[name] else " ''"
    raise ConfigError(f"--{name}{word}: {why}")


def _config(given: Mapping[str, Any]) -> Config:
    groups: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    if PROGRAM in given:
        groups["program"]["words"] = given[PROGRAM]
    if "every-port" in given or "inetd" in given:
        groups["listening"]["listen"] = ()
    for option in _of(given):
        group, field = option.path
        groups[group][field] = option.parse(given[option.name])
    settleAuthentication(given, groups)
    settleTokens(given, groups)
    if "verify-client" in given:  # who must show a certificate must speak TLS
        groups["tls"]["only"] = True
    return Config(**{group: GROUPS[group](**fields) for group, fields in groups.items()})


def _of(given: Mapping[str, Any]) -> list[Option]:
    """In the table's order."""
    return [option for option in TABLE if option.name in given]
