"""C{wsproxy upgrade}: what SIGUSR2 does, to a proxy with workers."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from wsproxy.command.operators import asker, command

__all__ = ["describe", "run"]


def describe(commands: Any) -> None:
    """@param commands: what C{add_subparsers} has returned."""
    command(commands, "upgrade", "Execute the version that is installed now; sessions go on.", run)


def run(options: Namespace) -> str:
    """@return: that it was asked for. @raise ConfigError: there is one process, which cannot be."""
    answer = asker(options).ask("POST", "/upgrade")
    return json.dumps(answer) if options.json else "Asked for: the log says what comes of it"
