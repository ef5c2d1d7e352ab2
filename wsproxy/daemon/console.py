"""How the console scripts answer: wrong words, complaints, and a reader of their output that has gone."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from wsproxy.errors import ConfigError

__all__ = ["OneLineParser", "complain", "piped", "say"]


class OneLineParser(ArgumentParser):
    """C{prog} begins with the script's name; so does that of a sub-command's parser."""

    def error(self, message: str) -> NoReturn:
        """One line, without the usage."""
        complain(self.prog.split()[0], message)
        raise SystemExit(2)


def complain(program: str, message: object) -> None:
    """One line on stderr."""
    text = " ".join(str(message).splitlines())
    print(f"{program}: {text}", file=sys.stderr)


@contextmanager
def piped() -> Iterator[None]:
    """@raise SystemExit: with 1, when whoever reads our stdout has seen enough."""
    try:
        yield
    except BrokenPipeError:
        _giveUp()
        raise SystemExit(1) from None


def say(text: str) -> None:
    """
    A line, or several, on stdout.

    @raise ConfigError: it cannot be written, on a full disk say.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _giveUp()
        raise ConfigError(f"stdout: {error.strerror}") from None


def _giveUp() -> None:
    """Of what stdout does not take, Python would complain once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
