"""What the commands have in common that ask the admin side of a proxy that runs: where that is, and who asks there."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import Any

from wsproxy.access.secretfile import readSecretFile
from wsproxy.admin.client import DEFAULT, AdminClient
from wsproxy.command.kinds import secretVariable
from wsproxy.errors import ConfigError

__all__ = ["addFilters", "asker", "command", "filters", "number", "warn"]

_LARGEST = 100_000

_EPILOG = f"""\
The proxy is asked at its --admin, by default {DEFAULT}. WSPROXY_ADMIN and
WSPROXY_ADMIN_TOKEN say where that is, and what is shown there, likewise.

Exit status: 0; 1 with one line on stderr when it cannot be done; 2 for wrong words.
"""


def command(commands: Any, name: str, text: str, run: Callable[[Namespace], str | None]) -> ArgumentParser:
    """@return: the parser of a command, which knows where to ask."""
    parser: ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=_EPILOG, formatter_class=RawDescriptionHelpFormatter
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--admin", metavar="ENDPOINT", default=os.environ.get("WSPROXY_ADMIN") or DEFAULT,
        help="where the proxy answers operators: unix:PATH, HOST:PORT or https://HOST:PORT; default: what "
        f"WSPROXY_ADMIN says, else {DEFAULT}")  # fmt: skip
    add("--admin-token", metavar="SECRET", default=os.environ.get("WSPROXY_ADMIN_TOKEN") or None,
        help="what it wants to be shown there: @FILE or env:NAME; default: WSPROXY_ADMIN_TOKEN")  # fmt: skip
    add("--admin-cafile", metavar="FILE", help="whose certificates are trusted there, instead of the system's")
    add("--json", action="store_true", help="print JSON, for scripts")
    return parser


def addFilters(parser: ArgumentParser) -> None:
    """Options that say which sessions are meant."""
    add = parser.add_argument
    add("--identity", metavar="NAME", help="those of this user")
    add("--client", metavar="CIDR", help="those that come from this address or network")
    add("--target", metavar="ENDPOINT", help="those that lead there")
    add("--token", metavar="SECRET", help="those that came with this token: @FILE or env:NAME")


def filters(options: Namespace) -> dict[str, str | None]:
    """@return: what was said by those, as parameters."""
    token = None if options.token is None else _secret("--token", options.token)
    return {"identity": options.identity, "client": options.client, "target": options.target, "token": token}


def asker(options: Namespace) -> AdminClient:
    """@raise ConfigError: there is no such place, or no token where it should be."""
    token = None if options.admin_token is None else _secret("--admin-token", options.admin_token)
    return AdminClient(options.admin, token, options.admin_cafile)


def _secret(name: str, word: str) -> str:
    """What the word says, or where; a literal one from the environment is nobody else's."""
    variable = secretVariable(word)
    if variable is not None:
        if variable not in os.environ:
            raise ConfigError(f"{name} {word}: not in the environment")
        return os.environ[variable]
    if not word.startswith("@"):
        if word in sys.argv:
            print(f"wsproxy: {name}: all users of this machine can read it; use @FILE or env:NAME", file=sys.stderr)
        return word
    try:
        return readSecretFile(word[1:]).rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name} {word}: {getattr(error, 'strerror', None) or 'not a text file'}") from None


def warn(answer: dict[str, Any]) -> None:
    """Of workers that are silent, and are not in the answer."""
    if answer.get("stale"):
        print(f"wsproxy: silent workers: {', '.join(map(str, answer['stale']))}", file=sys.stderr)


def number(word: str) -> float:
    """What is above 0, and no more than L{_LARGEST}."""
    try:
        value = float(word)
    except ValueError:
        value = 0.0
    if value > _LARGEST:
        raise ArgumentTypeError(f"{word} is more than {_LARGEST}")
    if not value > 0:
        raise ArgumentTypeError(f"{word} is not a number above 0")
    return value
