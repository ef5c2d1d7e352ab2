"""What was given, by the names of the table: on the command line, in a file, or there for one of its routes.

::

    file ─┐
    route ┼─► layered ─► Given: of each name what counts, and where that was said
    words ┘
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wsproxy.command.option import PROGRAM
from wsproxy.command.options import TABLE
from wsproxy.command.place import placed
from wsproxy.command.table.authentication import AUTHENTICATORS
from wsproxy.command.table.tokens import TOKEN_PLUGINS
from wsproxy.errors import ConfigError

__all__ = ["WAYS", "Given", "Origin", "saying"]

WAYS = (PROGRAM, "target", "link-key", *TOKEN_PLUGINS)
"""Of what says where the data goes, one."""

_WITH_WAYS = (
    *("ssl-target", "target-cafile", "target-insecure", "wrap-mode", "every-port"),
    *("token-source", "host-token", "token-path", "token-header", "token-cookie"),
    *("token-audience", "token-issuer", "token-revokes", "raw", "raw-after"),
)
"""What goes with one of them, and makes no sense for another."""

_NEEDS = {option.name: option.needs for option in TABLE if option.name in _WITH_WAYS}

_NO_TOKENS = ("raw", "raw-after")
"""What goes with a target and with a program alone."""

_WITH_AUTHENTICATORS = ("auth-source", "auth-copy", "auth-recheck")


@dataclass(frozen=True, slots=True)
class Origin:
    """
    A line of a file.

    @ivar file: its absolute path.
    @ivar line: from 1.
    @ivar seen: whether every user of this machine can read it.
    """

    file: str
    line: int
    seen: bool = True

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Given(dict[str, Any]):
    """
    The word or, of a repeatable option, the words that follow each name; of a flag, C{True}. Behind L{PROGRAM}, the
    program and its arguments.

    @ivar origins: where each was said that a file has, by name; the rest the command line has.
    """

    def __init__(self, words: Mapping[str, Any] = {}, origins: Mapping[str, Origin] = {}) -> None:
        super().__init__(words)
        self.origins = dict(origins)

    def over(self, other: Given) -> Given:
        """
        @return: this, and what of C{other} it does not say otherwise. One way to a target takes the place of another,
            with all that belongs to that; so with those who say who may come in. What belongs to no way of C{other}
            goes with the one of this, where it can: C{wrap-mode} with a program, which only a command line has.
            C{False} takes something back; where that leaves nobody to be asked, pages are for anybody, too.
        """
        hidden = {*self}
        if _asking(self):
            hidden |= {*AUTHENTICATORS, *_WITH_AUTHENTICATORS}
        elif _asking(other) and not _asking(other) - hidden:
            hidden |= {*_WITH_AUTHENTICATORS, "web-auth"}
        if any(name in self for name in WAYS):
            # a link also says who may come in, which nobody loses by naming a target
            hidden |= {*WAYS} - ({*AUTHENTICATORS} - hidden)
            hidden |= {name for name in _WITH_WAYS if not self._suits(name, other)}
        left = [name for name in other if name not in hidden]
        words = {**{name: other[name] for name in left}, **self}
        origins = {**{name: other.origins[name] for name in left if name in other.origins}, **self.origins}
        return Given(words, origins)

    def _suits(self, name: str, other: Given) -> bool:
        """Whether what C{other} says by this name belongs to none of its own ways, and can to this one's."""
        if any(way in other for way in WAYS) and _isMet(name, other):
            return False
        return _isMet(name, {**{each: word for each, word in other.items() if each not in WAYS}, **self})

    def settled(self) -> Given:
        """@return: this, without what was taken back."""
        return self.only(name for name, word in self.items() if word is not False)

    def only(self, names: Iterable[str]) -> Given:
        kept = [name for name in names if name in self]
        return Given(
            {name: self[name] for name in kept},
            {name: self.origins[name] for name in kept if name in self.origins},
        )


def _asking(given: Given) -> set[str]:
    """Those who say who may come in, of these."""
    return {name for name in AUTHENTICATORS if given.get(name, False) is not False}


def _isMet(name: str, given: Mapping[str, Any]) -> bool:
    """Whether this makes sense with the way that is given."""
    if name in _NO_TOKENS and any(way in given for way in (*TOKEN_PLUGINS, "link-key")):
        return False
    return all(need.met(given) for need in _NEEDS[name])


@contextmanager
def saying(given: Mapping[str, Any], *names: str) -> Iterator[None]:
    """
    Make sense of what was said by the first of these names that is there: where it was said.

    @raise ConfigError: what is raised meanwhile, with the line of the file where there is one.
    """
    origins = given.origins if isinstance(given, Given) else {}
    origin = next((origins[name] for name in names if name in origins), None)
    if origin is None:
        yield
        return
    with placed(os.path.dirname(origin.file), seen=origin.seen):
        try:
            yield
        except ConfigError as error:
            raise ConfigError(f"{origin}: {error}") from error
