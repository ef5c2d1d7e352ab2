"""The options of the admin side, and of how the log looks."""

from __future__ import annotations

import re

from wsproxy.command.kinds import ENDPOINT, SECRET, Kind, choice
from wsproxy.command.option import Option, needs
from wsproxy.errors import ConfigError

__all__ = ["ADMIN"]

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9.])?")
_SHORTEST = 16


def _host(name: str, word: str) -> str:
    if not _HOST.fullmatch(word):
        raise ConfigError(f"--{name} {word}: expected the name of a host, without a port")
    return word


def _token(name: str, word: str) -> str:
    secret: str = SECRET.parse(name, word)
    if len(secret) < _SHORTEST or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigError(f"--{name}: expected {_SHORTEST} characters of ASCII or more, without spaces")
    return secret


_TOKEN = Kind("SECRET", _token, secret=True)
_ADMIN = (needs("admin"),)

ADMIN = (
    Option(
        "log-format", "logging.format", choice("text", "json"),
        "How the log looks: json is an object a line, with numbers as numbers.",
    ),
    Option(
        "log-level", "logging.level", choice("debug", "info", "warn", "error", "critical"),
        "Log this, and what is more important.",
    ),
    Option(
        "admin", "admin.endpoint", ENDPOINT,
        "Answer operators there, over HTTP: unix:PATH, for the owner of this process alone unless it has a mode=, or "
        "HOST:PORT, which needs --admin-token, and TLS beyond loopback. wsproxy sessions and others ask there.",
    ),
    Option("admin-token", "admin.token", _TOKEN, "What operators show there: @FILE or env:NAME.", needs=_ADMIN),
    Option(
        "admin-read-token", "admin.readToken", _TOKEN, "What Prometheus and others show who only read there.",
        needs=(*_ADMIN, needs("admin-token")),
    ),
    Option(
        "admin-host", "admin.hosts", Kind("NAME", _host),
        "A name by which browsers may ask there, beside addresses and localhost.", repeatable=True, needs=_ADMIN,
    ),
    Option(
        "health", "admin.health", ENDPOINT,
        "Answer anybody there whether this is well (/healthz), and takes clients (/readyz).",
    ),
)  # fmt: skip
