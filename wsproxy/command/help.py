"""The table of options to be read: as C{--help} has it, and as C{docs/options.rst} does.

C{make options} renews that file; C{python -m wsproxy.command.help} prints it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import wrap

from wsproxy.command.option import Option
from wsproxy.command.options import byHeading

__all__ = ["OWN", "asDocument", "asHelp", "fullHelp"]

OWN = (("-h, --help", "Display this help and exit."), ("    --version", "Display the version and exit."))
"""What a command line takes beside the table."""

_COLUMN = 31
_WIDTH = 120
_INTRODUCTION = """\
Options
=======
What ``twistd websockify`` takes, as ``twistd websockify --help`` lists it: this is the same table, written by
``make options``. A flag is given without a value. Seconds may have a fraction.
"""


def asHelp(width: int, more: Sequence[tuple[str, list[tuple[str, str]]]] = ()) -> str:
    """
    @param width: of the terminal, in columns.
    @param more: sections behind those of the table: what is above them, and usage and help of each option.
    """
    sections = [
        (heading, [(_usage(option), fullHelp(option)) for option in options]) for heading, options in byHeading()
    ]
    return "\n".join(
        f"{heading}:\n" + "".join(_entry(usage, text, width) for usage, text in entries)
        for heading, entries in [*sections, *more, ("Help", list(OWN))]
    )


def _usage(option: Option) -> str:
    short = f"-{option.short}, " if option.short else "    "
    value = f"={option.kind.placeholder}" if option.kind.placeholder else ""
    return f"{short}--{option.name}{value}"


def fullHelp(option: Option) -> str:
    """@return: its help, with whether it is repeatable, and its default."""
    default = _default(option)
    return " ".join(
        filter(None, (option.help, "Repeatable." if option.repeatable else "", default and f"Default: {default}."))
    )


def _default(option: Option) -> str:
    """What the field's default looks like on a command line; empty where there is none, or the help tells it."""
    default = option.default
    if isinstance(default, bool):
        return ""
    if isinstance(default, float):
        return f"{default:g}"
    return " ".join(default) if isinstance(default, tuple) else str(default or "")


def _entry(usage: str, text: str, width: int) -> str:
    """Side by side, or below each other where the left side is too long."""
    margin, left = " " * _COLUMN, f"  {usage}"
    lines = [margin + line for line in wrap(text, max(width - _COLUMN, 20), break_on_hyphens=False)]
    if len(left) < _COLUMN:
        lines[0] = left + lines[0][len(left) :]
    else:
        lines.insert(0, left)
    return "".join(f"{line}\n" for line in lines)


def asDocument() -> str:
    """@return: reStructuredText."""
    sections = [
        f"\n{heading}\n{'-' * len(heading)}\n" + "".join(map(_definition, options)) for heading, options in byHeading()
    ]
    return _INTRODUCTION + "".join(sections)


def _definition(option: Option) -> str:
    value = f" {option.kind.placeholder}" if option.kind.placeholder else ""
    names = [f"``--{option.name}{value}``", *([f"``-{option.short}``"] if option.short else [])]
    text = re.sub(r"([\\*`|_])", r"\\\1", fullHelp(option))
    lines = wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join([", ".join(names), *lines, ""])


if __name__ == "__main__":
    print(asDocument(), end="")
