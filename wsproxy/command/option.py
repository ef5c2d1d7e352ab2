"""One option, wherever it is given: what it is called, what it decides, and what it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from wsproxy.command.kinds import Kind
from wsproxy.config import GROUPS

__all__ = ["PROGRAM", "Need", "Option", "needs"]

PROGRAM = "--"
"""What the program and its arguments are given by, which is no option."""


@dataclass(frozen=True, slots=True)
class Need:
    """What an option makes no sense without.

    @ivar met: whether it is among what was given, by name.
    @ivar why: what is said where it is not.
    """

    met: Callable[[Mapping[str, Any]], bool]
    why: str


@dataclass(frozen=True, slots=True)
class Option:
    """
    One option.

    @ivar name: as the command line has it behind C{--}, and a file as it is.
    @ivar field: what it decides: a group of L{Config<wsproxy.config.Config>} and a field of that, with a dot between.
    @ivar help: whole sentences. What it defaults to, and that it is repeatable, is added to them.
    @ivar short: one letter.
    @ivar repeatable: the field is the tuple of all that was said.
    @ivar alone: it is about a single process.
    """

    name: str
    field: str
    kind: Kind
    help: str
    short: str | None = None
    repeatable: bool = False
    needs: tuple[Need, ...] = ()
    alone: bool = False

    @property
    def path(self) -> tuple[str, str]:
        """The group and the field."""
        group, _, field = self.field.partition(".")
        return group, field

    @property
    def default(self) -> Any:
        """That of the field; C{None} where it has none."""
        group, name = self.path
        [default] = [field.default for field in fields(GROUPS[group]) if field.name == name]
        return None if default is MISSING else default

    def parse(self, given: Any) -> Any:
        """
        @param given: the word, or a list of words; of a flag, anything.
        @raise ConfigError: it cannot be meant.
        """
        if self.repeatable:
            return tuple(self.kind.parse(self.name, word) for word in given)
        return self.kind.parse(self.name, given)


def needs(name: str, why: str | None = None) -> Need:
    return Need(lambda given: name in given, why or f"needs --{name}")
