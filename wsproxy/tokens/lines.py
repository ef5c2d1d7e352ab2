"""The text of a token file: what it says, and what is new in another edition of it. No Twisted in here.

::

    # a comment
    TOKEN: HOST:PORT
    TOKEN: unix_socket:/PATH proxy=v1

A token ends at the first colon that white space follows, as in the original; of two lines with the same token the later
one counts. Editions of 100,000 lines are compared by what differs: an application rewrites its file for each user that
it sends, and a line of it takes 1 µs to be understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from wsproxy.errors import ConfigError
from wsproxy.tokens.targets import asTarget

__all__ = ["NOTHING", "Edition", "Parsed", "fresh", "parse"]

_USUAL = re.compile(
    r"[ \t]*([^\s#:\ud800-\udfff][^\s:\ud800-\udfff]*):[ \t]+"
    r"((?:[A-Za-z0-9_-]{1,63}\.){0,9}[A-Za-z0-9_-]{1,63}:[1-9][0-9]{0,3}|[0-9.]{7,15}:[1-5][0-9]{4})[ \t\r]*"
)
"""What nearly every line looks like, and needs no second look."""

_FEW = 1000
"""Lines that are faster understood than looked for."""

_SPLIT = re.compile(r":\s+")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Parsed:
    """
    @ivar entries: targets by their tokens, as the lines have them.
    @ivar bad: the numbers of lines that say nothing, with these, secrets and all.
    """

    entries: dict[str, str]
    bad: list[tuple[int, str]]


def parse(lines: Iterable[str], first: int = 1) -> Parsed:
    """@param first: the number of the first line."""
    entries: dict[str, str] = {}
    bad: list[tuple[int, str]] = []
    usual = _USUAL.fullmatch
    for number, line in enumerate(lines, first):
        match = usual(line)
        if match is not None:
            token, target = match.groups()
            entries[token] = target
            continue
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        entry = _unusual(text)
        if entry is None:
            bad.append((number, line))
        else:
            entries[entry[0]] = entry[1]
    return Parsed(entries, bad)


def _unusual(text: str) -> tuple[str, str] | None:
    token, *rest = _SPLIT.split(text, maxsplit=1)
    if not (token and rest) or _SURROGATES.search(text):
        return None
    try:
        asTarget(rest[0], True)
    except ConfigError:
        return None
    return token, rest[0]


@dataclass(frozen=True, slots=True)
class Edition:
    """All of a file at one time."""

    content: str = ""
    entries: Mapping[str, str] = field(default_factory=dict)
    bad: tuple[tuple[int, str], ...] = ()

    def next(self, content: str) -> Edition:
        """@return: that of this content; in no time where it is the same, or has more lines at its end."""
        if content == self.content:
            return self
        if self.content.endswith("\n") and content.startswith(self.content):
            more = parse(content[len(self.content) :].split("\n"), self.content.count("\n") + 1)
            return Edition(content, {**self.entries, **more.entries}, (*self.bad, *more.bad))
        whole = parse(content.split("\n"))
        return Edition(content, whole.entries, tuple(whole.bad))


NOTHING = Edition()


def fresh(old: str, new: str) -> list[str]:
    """@return: lines of C{new} that are not in C{old}, and perhaps some that are; whatever is new among them."""
    if new.startswith(old):
        start = old.rfind("\n") + 1
        return new[start:].split("\n")
    start = new.rfind("\n", 0, _commonStart(old, new)) + 1
    end = _commonEnd(old[start:], new[start:])
    stop = new.find("\n", len(new) - end) if end else -1  # what is common may begin within a line
    lines = new[start : stop if stop >= 0 else len(new)].split("\n")
    if len(lines) <= _FEW:
        return lines
    before = set(old[start:].split("\n"))
    return [line for line in lines if line not in before]


def _commonStart(one: str, other: str) -> int:
    """How many characters are the same. Halves are compared at once, which C does."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _commonEnd(one: str, other: str) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[len(one) - middle : len(one) - low] == other[len(other) - middle : len(other) - low]:
            low = middle
        else:
            high = middle - 1
    return low
