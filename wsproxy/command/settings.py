"""What was given, wherever: by the names of the L{table<wsproxy.command.options>}, and a L{Config} out of it.

::

    command line ─┐
    file ─────────┼─► Layers ─► makeConfig ─► Config
    its routes ───┘                             └─ routes: each a Config
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wsproxy.command.configfile import FileListener, FileRoute, Settings
from wsproxy.command.given import WAYS, Given, saying
from wsproxy.command.kinds import secretVariable
from wsproxy.command.option import PROGRAM, Option
from wsproxy.command.options import TABLE
from wsproxy.command.place import absolute
from wsproxy.command.table.authentication import AUTHENTICATORS, settleAuthentication
from wsproxy.command.table.tokens import TOKEN_PLUGINS, settleTokens
from wsproxy.config import GROUPS, Config, ListenerConfig, RouteConfig
from wsproxy.endpoints.weburl import discreetTarget
from wsproxy.errors import ConfigError

__all__ = ["Layers", "forgetSecrets", "makeConfig", "problemsIn"]

_OPTIONS = {option.name: option for option in TABLE}
_CERTIFICATE = "self.pem"
_CLASHES = (
    ("every-port", "listen"),
    ("inetd", "listen"),
    ("inetd", "every-port"),
    ("traffic", "inetd"),
    ("target-cafile", "target-insecure"),
)
"""Pairs that make no sense together. C{--traffic} writes to stdout, which may be inetd's client."""

_LIMITS = tuple(option.name for option in TABLE if option.path[0] == "limits")

_NOTHING_RAW = (
    *("raw", "legacy", "cert", "web", "web-auth", "origin", "subprotocol", "text", "link-key"),
    *AUTHENTICATORS, *TOKEN_PLUGINS,
)  # fmt: skip
"""Options that mean nothing where no client speaks HTTP."""


_TLS = tuple(option.name for option in TABLE if option.path[0] == "tls")

_EACH = ("target", "tokens", "sessions", "authentication", "links", "access", "recording")
"""Groups that are each route's own, where there are routes."""


@dataclass(frozen=True, slots=True)
class Layers:
    """
    All that was given.

    @ivar words: on the command line.
    @ivar settings: in the file.
    """

    words: Given
    settings: Settings = field(default_factory=Settings)

    def whole(self) -> Given:
        """What holds where there are no routes."""
        return self.words.over(self.settings.given).settled()

    def ofRoute(self, route: FileRoute) -> Given:
        """What holds there. Limits are those of this route alone: the others are counted for all of them together."""
        words, top = _without(self.words, _LIMITS), _without(self.settings.given, _LIMITS)
        return words.over(route.given.over(top)).settled()

    @property
    def listeners(self) -> tuple[FileListener, ...]:
        """None, where the command line says where to listen, or what is run does."""
        elsewhere = any(name in self.words for name in ("listen", "every-port", "inetd"))
        return () if elsewhere else self.settings.listeners

    def ofListener(self, listener: FileListener) -> Given:
        """What holds there: where to listen, and its TLS."""
        words = self.words.only(_TLS)
        return words.over(listener.given.over(self.settings.given.only(_TLS))).settled()

    def shared(self) -> Given:
        """What holds for all routes together."""
        whole = self.whole()
        return whole.only(name for name in whole if name != PROGRAM and _OPTIONS[name].path[0] not in _EACH)

    def all(self) -> Iterator[Given]:
        yield self.whole()
        for listener in self.listeners:
            yield self.ofListener(listener)
        for route in self.settings.routes:
            yield self.ofRoute(route)

    def located(self, error: ConfigError) -> ConfigError:
        """@return: the same, with the line of the option that it is about, where that is one of a file."""
        found = re.match(r"(?:route (?P<route>[^\s:]+): )?--(?P<name>[a-z0-9-]+)", str(error))
        if found is None:
            return error
        given = next(
            (self.ofRoute(each) for each in self.settings.routes if _nameOf(each) == found["route"]), self.whole()
        )
        origin = given.origins.get(found["name"])
        for listener in self.listeners if found["name"] == "listen" else ():
            if any(f"--listen {text}: " in str(error) for text in listener.given["listen"]):
                origin = listener.given.origins["listen"]
        return error if origin is None else ConfigError(f"{origin}: {error}")


def makeConfig(given: Mapping[str, Any] | Layers, certificate: str | None = _CERTIFICATE) -> Config:
    """
    @param given: the word or, of a repeatable option, the words that follow each name; of a flag, anything. Behind
        L{PROGRAM}, the program and its arguments. Or all of what was given in several places.
    @param certificate: the file that is taken for C{--cert}, where there is one and nothing else was said.
    @raise ConfigError: it makes no sense, in one line.
    """
    if not isinstance(given, Layers):
        return _make(_withCertificate(given, certificate))
    return _withListeners(_whole(given, certificate), given, certificate)


def _whole(given: Layers, certificate: str | None) -> Config:
    if not given.settings.routes:
        return _make(_withCertificate(given.whole(), certificate), file=given.settings.file)
    whole = given.whole()
    for name, why in ((PROGRAM, "one program serves all"), ("raw", "such clients say neither a host nor a path")):
        if name in whole:
            with saying(whole, name):
                raise ConfigError(f"--{'' if name == PROGRAM else name}: clashes with routes; {why}")
    shared = _withCertificate(given.shared(), certificate)
    _checkNeeds(shared, exempt=_LIMITS)
    _checkClashes(shared)
    return replace(_config(shared), routes=tuple(_route(given, route, certificate) for route in given.settings.routes))


def _withListeners(config: Config, layers: Layers, certificate: str | None) -> Config:
    """@raise ConfigError: a listener makes no sense."""
    listeners: list[ListenerConfig] = []
    for section in layers.listeners:
        given = _withCertificate(layers.ofListener(section), certificate)
        _checkNeeds(given)
        own = _config(given)
        listeners += (ListenerConfig(text, own.tls) for text in own.listening.listen)
    if not listeners:
        return config
    top = config.listening.listen if "listen" in layers.whole() else ()
    listening = replace(config.listening, listen=(*top, *(each.listen for each in listeners)))
    return replace(config, listening=listening, listeners=tuple(listeners))


def _route(layers: Layers, route: FileRoute, certificate: str | None) -> RouteConfig:
    """@raise ConfigError: this route makes no sense."""
    given = _withCertificate(layers.ofRoute(route), certificate)
    try:
        return RouteConfig(route.host, route.path, _make(given, pages=True))
    except ConfigError as error:
        if not str(error).startswith(f"{route.origin.file}:"):
            raise ConfigError(f"{route.origin}: {error}") from None
        if not any(str(error).startswith(f"{own}:") for own in route.given.origins.values()):  # of what stands above
            raise ConfigError(f"{error} (in the route of line {route.origin.line})") from None
        raise


def _nameOf(route: FileRoute) -> str:
    return f"{route.host or '*'}{route.path}"


def _without(given: Given, names: tuple[str, ...]) -> Given:
    return given.only(name for name in given if name not in names)


def _withCertificate(given: Mapping[str, Any], certificate: str | None) -> Mapping[str, Any]:
    if certificate is None or "cert" in given or "raw-only" in given or not os.path.exists(absolute(certificate)):
        return given
    origins = given.origins if isinstance(given, Given) else {}
    return Given({"cert": certificate, **given}, origins)


def _make(given: Mapping[str, Any], *, pages: bool = False, file: str | None = None) -> Config:
    """
    @param pages: there need not be a target; pages alone are served then.
    @param file: where one could be.
    """
    _checkProgram(given)
    if not pages and not any(name in given for name in WAYS):
        where = "" if file is None else f", in {file} as well"
        raise ConfigError(f"--target is missing{where}: say where the data goes, or demo: for a first look")
    _checkNeeds(given)
    _checkClashes(given)
    return _config(given)


def problemsIn(given: Mapping[str, Any] | Layers) -> list[str]:
    """@return: what L{makeConfig} would raise of each option by itself, where it raises the first."""
    problems = []
    for each in given.all() if isinstance(given, Layers) else (given,):
        for option in _of(each):
            try:
                _parse(option, each)
            except ConfigError as error:
                problems.append(str(error))
    return list(dict.fromkeys(problems))


def _parse(option: Option, given: Mapping[str, Any]) -> Any:
    with saying(given, option.name):
        return option.parse(given[option.name])


def forgetSecrets(given: Mapping[str, Any]) -> dict[str, str]:
    """
    Take secrets out of the environment: whatever is started here inherits the rest.

    @return: them, by their names in there.
    """
    found: dict[str, str] = {}
    for name, word in given.items():
        if name in _OPTIONS and _OPTIONS[name].kind.secret:
            for each in word if isinstance(word, list) else (word,):
                variable = secretVariable(each)
                if variable is not None and variable in os.environ:
                    found[variable] = os.environ.pop(variable)
    return found


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


def _checkNeeds(given: Mapping[str, Any], exempt: tuple[str, ...] = ()) -> None:
    for option in _of(given):
        for need in option.needs:
            if option.name not in exempt and not need.met(given):
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
    workers = given.get("workers")
    if "workers" in given and _parse(_OPTIONS["workers"], given) > 1:
        for option in _of(given):
            if option.alone and _parse(option, given):
                _refuse(given, option.name, f"clashes with --workers {workers}")


def _refuse(given: Mapping[str, Any], name: str, why: str) -> None:
    """Complain about this option, and what it was told unless that is a secret."""
    option = _OPTIONS[name]
    silent = not option.kind.placeholder or option.kind.secret
    word = "" if silent else f" {discreetTarget(str(given[name]))}" if given[name] else " ''"
    with saying(given, name):
        raise ConfigError(f"--{name}{word}: {why}")


def _config(given: Mapping[str, Any]) -> Config:
    groups: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    if PROGRAM in given:
        groups["program"]["words"] = given[PROGRAM]
    if "every-port" in given or "inetd" in given:
        groups["listening"]["listen"] = ()
    for option in _of(given):
        group, name = option.path
        groups[group][name] = _parse(option, given)
    if "workers" in given and any(option.alone and _parse(option, given) for option in _of(given)):
        groups["listening"]["workers"] = 0  # what takes a process of its own has no parent either
    with saying(given, "auth-source", "auth-plugin"):
        settleAuthentication(given, groups)
    with saying(given, "token-source", "token-plugin", "target-config"):
        settleTokens(given, groups)
    if "verify-client" in given:  # who must show a certificate must speak TLS
        groups["tls"]["only"] = True
    return Config(**{group: GROUPS[group](**fields) for group, fields in groups.items()})


def _of(given: Mapping[str, Any]) -> list[Option]:
    """In the table's order."""
    return [option for option in TABLE if option.name in given]
