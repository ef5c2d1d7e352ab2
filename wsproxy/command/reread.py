"""Settings that are read again: what the command line said at the start, and what the file says now.

::

    command line, and where it was said ─┐
    secrets of the environment ──────────┼─► Source.read ─► Changed: a Config, and what is different in one line
    the file, as it is ──────────────────┘

What a process cannot change without a start anew is refused by name, whatever else has changed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wsproxy.command.configfile import readSettings
from wsproxy.command.given import Given, saying
from wsproxy.command.option import Option
from wsproxy.command.options import TABLE
from wsproxy.command.place import placed
from wsproxy.command.settings import Layers, forgetSecrets, makeConfig
from wsproxy.config import Config
from wsproxy.endpoints.weburl import discreetTarget
from wsproxy.errors import ConfigError
from wsproxy.escape import escape

__all__ = ["Changed", "Source"]

_GROUPS = (
    *("listening", "target", "tokens", "clients", "proxies", "sessions", "authentication", "links", "access", "limits"),
    *("tls", "web", "recording", "logging"),
)
"""Those that may change; everything else is as it was at the start."""

_FIXED = ("workers", "inetd", "legacy", "raw-only", "traffic", "log-format", "log-level")
"""In those groups, what may not."""

_EACH = ("target", "tokens", "sessions", "authentication", "links", "access", "recording")
"""Where there are routes, these are each route's, and the others are there for all."""

_SHARED = ("listening", "clients", "tls", "web", "logging")

_MOST = 12
"""Changes that are told one by one."""

_LONGEST = 200
"""Characters of a value that the log shows."""

_OPTIONS = {option.name: option for option in TABLE}


class Source:
    """
    Where the settings of this process come from.

    @param words: the command line's.
    @param secrets: what was in the environment once, by its names there.
    @ivar layers: what was read last, and C{config}: what that means.
    """

    def __init__(self, words: Given, secrets: Mapping[str, str] = {}) -> None:
        self._words = words
        self._directory = os.getcwd()
        self._secrets = dict(secrets)
        self.layers = Layers(words)
        self.config = Config()

    def load(self) -> Layers:
        """@raise ConfigError: the file cannot be read, or is none of ours."""
        with placed(self._directory):
            self.layers = self._look()
            return self.layers

    def start(self) -> Config:
        """@raise ConfigError: it makes no sense."""
        os.environ.update(self._secrets)
        try:
            with placed(self._directory):
                self.config = makeConfig(self.layers)
        finally:
            for name in self._secrets:
                os.environ.pop(name, None)
        for given in self.layers.all():
            self._secrets |= forgetSecrets(given)
        return self.config

    @property
    def secrets(self) -> Mapping[str, str]:
        """What was in the environment, and is not any more."""
        return self._secrets

    def _look(self) -> Layers:
        path = self._words.get("config")
        if path is None:
            return Layers(self._words)
        return Layers(self._words, readSettings(_OPTIONS["config"].parse(path)))

    @property
    def rereadable(self) -> bool:
        """Whether there is a file."""
        return "config" in self._words

    def read(self) -> Changed:
        """
        Read it all again.

        @raise ConfigError: it makes no sense, or needs a start anew.
        """
        with placed(self._directory), self._remembering():
            layers = self._look()
            config = makeConfig(layers)
        _checkFixed(self.config, config, layers)
        return Changed(self, layers, config, difference(self.config, config))

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        """Those that were in the environment at the start are there."""
        os.environ.update(self._secrets)
        try:
            yield
        finally:
            for name in self._secrets:
                os.environ.pop(name, None)


@dataclass(frozen=True, slots=True)
class Changed:
    """A L{Change<wsproxy.service.renewal.Change>}."""

    source: Source
    layers: Layers
    config: Config
    line: str

    def accept(self) -> None:
        self.source.layers, self.source.config = self.layers, self.config

    def located(self, error: ConfigError) -> ConfigError:
        return self.layers.located(error)


def _checkFixed(before: Config, now: Config, layers: Layers) -> None:
    """@raise ConfigError: something is different that has to stay."""
    moved = ("listen",) if before.program is not None else ()  # whose port it is that was moved
    whole = layers.whole()
    for option in TABLE:
        fixed = option.path[0] not in _GROUPS or option.name in (*_FIXED, *moved)
        if fixed and _value(before, option) != _value(now, option):
            with saying(whole, option.name):
                raise ConfigError(f"--{option.name}: is fixed at the start; restart to change it")


def difference(before: Config, now: Config) -> str:
    """@return: what has changed, in one line; empty where nothing has."""
    old, new = ({route.name: route.config for route in config.routes} for config in (before, now))
    changes = [*_changes(before, now, (_EACH if old or new else ()))]
    changes += [f"route {escape(name)} added" for name in new if name not in old]
    changes += [f"route {escape(name)} removed" for name in old if name not in new]
    sides, newSides = ({each.listen: each for each in config.listeners} for config in (before, now))
    changes += [f"listener {escape(name)}: TLS" for name, side in newSides.items() if sides.get(name, side) != side]
    for name in new:
        inside = [*_changes(old[name], new[name], _SHARED)] if name in old else []
        if inside:
            changes.append(f"route {escape(name)}: {', '.join(inside)}")
    if not changes and before != now:
        changes.append("what some options mean together")
    more = [f"and {len(changes) - _MOST} more"] if len(changes) > _MOST else []
    return "; ".join([*changes[:_MOST], *more])


def _changes(before: Config, now: Config, but: Sequence[str]) -> Iterator[str]:
    """@param but: groups that do not count."""
    for option in TABLE:
        old, new = _value(before, option), _value(now, option)
        if old == new or option.path[0] in but:
            continue
        if option.kind.secret:
            yield f"{option.name} changed"
        elif not option.kind.placeholder:
            yield f"{option.name} {'off' if new is None or new == option.default else 'on'}"
        elif option.repeatable:
            fewer, more = Counter(old or ()), Counter(new or ())
            parts = [
                *(f"+{_shown(each)}" for each in (more - fewer).elements()),
                *(f"-{_shown(each)}" for each in (fewer - more).elements()),
            ]
            yield " ".join([option.name, *(parts or ["in another order"])])
        else:
            yield f"{option.name} {_shown(old)} → {_shown(new)}"


def _value(config: Config, option: Option) -> Any:
    group, name = option.path
    return getattr(getattr(config, group), name, None)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return escape(f"{value:g}" if isinstance(value, float) else discreetTarget(str(value)), _LONGEST)
