"""The option for clients of the drafts, and the warning that goes with it."""

from __future__ import annotations

from twisted.logger import Logger

from wsproxy.command.kinds import Kind
from wsproxy.command.option import Option

__all__ = ["LEGACY"]

_log = Logger()

_WARNING = (
    "--{name}: clients of 2009 to 2011 are let in. Of these, Hixie-75 and -76 have no masks against proxies that cache "
    "what they misread, no pings that tell who is gone, no codes or reasons for the end, and a third more bytes; -75 "
    "does not even prove that it meant a WebSocket"
)


def _legacy(name: str, word: str) -> bool:
    _log.warn(_WARNING, name=name)
    return True


LEGACY = (
    Option(
        "legacy", "clients.legacy", Kind("", _legacy),
        "Let in clients of the drafts as well: WebSocket version 8, Hixie-76 and Hixie-75.",
    ),
)  # fmt: skip
