"""What the commands have in common: their words, and how they end."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from types import FrameType

__all__ = ["addCommon", "checkNames", "count", "runToTheEnd"]


def addCommon(parser: argparse.ArgumentParser, rounds: int, what: str) -> None:
    """The words that all have. @param what: of which C{rounds} are measured."""
    parser.add_argument("--rounds", type=count, default=rounds, help=f"of each {what} (default: {rounds})")
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="leave it out; repeatable")
    parser.add_argument(
        "--output", type=_directory, metavar="DIR", help="where results go (default: .build/benchmarks)"
    )


def count(word: str) -> int:
    """For C{type=}: a number from 1."""
    number = int(word)
    if number < 1:
        raise ValueError
    return number


def _directory(word: str) -> Path:
    path = Path(word)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{word}: {error.strerror}") from None
    return path.resolve()


def checkNames(parser: argparse.ArgumentParser, names: Collection[str], known: Collection[str]) -> None:
    """End with one line, where C{--without} names none of those that are C{known}."""
    for name in names:
        if name not in known:
            parser.error(f"--without {name}: none of {', '.join(known)}")


def runToTheEnd(main: Callable[[], None]) -> None:
    """Run it; ended by a signal, whatever it has started ends first."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    main()
