"""C{wsproxy reload}: what SIGHUP does, and what came of it."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from wsproxy.command.operators import asker, command

__all__ = ["describe", "run"]


def describe(commands: Any) -> None:
    """@param commands: what C{add_subparsers} has returned."""
    command(commands, "reload", "Look at files that may have changed.", run)


def run(options: Namespace) -> str:
    """@return: what has changed. @raise ConfigError: what is wrong, and that all is as it was."""
    answer = asker(options).ask("POST", "/reload")
    return json.dumps(answer) if options.json else str(answer["changed"])
