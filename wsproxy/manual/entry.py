"""An option as people see it, wherever it is spelled: in the table, in websockify's list, in a command's parser."""

from __future__ import annotations

from argparse import Action, ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

from wsproxy.command.help import fullHelp
from wsproxy.command.kinds import DIRECTORY, FILE, PATTERN
from wsproxy.command.option import Option
from wsproxy.command.options import byHeading
from wsproxy.command.serve import PROCESS
from wsproxy.command.wsproxy import COMMANDS
from wsproxy.websockify.options import GROUPS

__all__ = ["FILES", "FOLDERS", "SESSIONS", "Entry", "ofCommands", "ofWebsockify", "ofWsproxy"]

FILES, FOLDERS = "files", "folders"

SESSIONS = "sessions"
"""Ids of open sessions, which the proxy is asked for."""

_HELP = "Display this help and exit."
_VERSION = "Display the version and exit."


@dataclass(frozen=True, slots=True)
class Entry:
    """
    @ivar names: with their hyphens, the short one first.
    @ivar placeholder: what stands for its value; empty for a flag.
    @ivar choices: the values there are, where those are few.
    @ivar completes: L{FILES}, L{FOLDERS}, L{SESSIONS} or none of these.
    """

    names: tuple[str, ...]
    placeholder: str
    help: str
    choices: tuple[str, ...] = ()
    completes: str = ""
    repeatable: bool = False


Section = tuple[str, list[Entry]]
"""What is above them, and options."""


def ofWsproxy() -> list[Section]:
    """@return: what C{wsproxy serve} takes."""
    process = [Entry((f"--{name}",), value, text, completes=_completes(value)) for name, value, text in PROCESS]
    own = [Entry(("-h", "--help"), "", _HELP), Entry(("--version",), "", _VERSION)]
    table = [(heading, [_fromTable(option) for option in options]) for heading, options in byHeading()]
    return [*table, ("Process", process), ("Help", own)]


def _fromTable(option: Option) -> Entry:
    kind = option.kind
    completes = FILES if kind in (FILE, PATTERN) else FOLDERS if kind is DIRECTORY else _completes(kind.placeholder)
    names = (*([f"-{option.short}"] if option.short else []), f"--{option.name}")
    return Entry(names, kind.placeholder, fullHelp(option), kind.choices, completes, option.repeatable)


def ofWebsockify() -> list[Section]:
    """@return: what C{websockify} takes."""
    own = [Entry(("-h", "--help"), "", _HELP), Entry(("--version",), "", _VERSION)]
    groups = [
        (
            heading,
            [
                Entry(word.names[::-1], word.placeholder, word.help, word.choices, _completes(word.placeholder))
                for word in words
            ],
        )
        for heading, words in GROUPS.items()
    ]
    return [*groups, ("Help", own)]


def ofCommands() -> Iterator[tuple[str, str, list[Entry]]]:
    """@return: the other commands of C{wsproxy}: name, what it does, and what it takes."""
    for name, (module, line) in COMMANDS.items():
        if name == "serve":
            continue
        parsers = ArgumentParser(prog="wsproxy").add_subparsers()
        import_module(module).describe(parsers)
        yield name, line, [_fromParser(action) for action in parsers.choices[name]._actions]


def _fromParser(action: Action) -> Entry:
    valued = action.nargs != 0
    placeholder = str(action.metavar or action.dest.upper()) if valued else ""
    choices = tuple(map(str, action.choices or ()))
    text = (action.help or "").strip()
    names = tuple(action.option_strings) or (str(action.metavar or action.dest),)
    return Entry(names, placeholder if action.option_strings else "", text, choices, _completes(placeholder))


def _completes(placeholder: str) -> str:
    if placeholder == "ID":
        return SESSIONS
    return FILES if placeholder == "FILE" else FOLDERS if placeholder == "DIR" else ""
