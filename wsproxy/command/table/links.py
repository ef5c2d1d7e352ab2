"""The options of links, and of what is demanded of signed tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsproxy.command.kinds import SECRET, WORD, Kind
from wsproxy.command.option import PROGRAM, Need, Option

__all__ = ["LINKS"]

_TOKENS = ("token-plugin", "target-config")


def _areSigned(given: Mapping[str, Any]) -> bool:
    return "link-key" in given or given.get("token-plugin", "").rpartition(".")[2] == "JWTTokenApi"


def _alone(name: str, what: str) -> Need:
    return Need(lambda given: name not in given, f"clashes with {what}; a link says itself where it leads")


_NAME = Kind("NAME", WORD.parse)
_SIGNED = (Need(_areSigned, "needs --link-key, or --token-plugin JWTTokenApi"),)

LINKS = (
    Option(
        "link-key", "links.key", SECRET,
        "Let those in who come with a link, which says who they are, where it leads and until when, and is signed with "
        "this key of 32 bytes or more: wsproxy token makes them. @FILE or env:NAME.",
        needs=(
            *(_alone(name, f"--{name}") for name in ("target", *_TOKENS)),
            _alone(PROGRAM, "a program"),
        ),
    ),
    Option("token-audience", "links.audience", _NAME, "Demand this aud of signed tokens.", needs=_SIGNED),
    Option("token-issuer", "links.issuer", _NAME, "Demand this iss of signed tokens.", needs=_SIGNED),
)  # fmt: skip
