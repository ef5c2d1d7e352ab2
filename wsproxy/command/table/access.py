"""The options about access that is bounded: in place and in time; and of looking at it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsproxy.command.kinds import ADDRESS, EXPLAINED, EXPLAINED_HEADER, ON, SECONDS, TARGETS
from wsproxy.command.option import Need, Option, needs

__all__ = ["ACCESS"]


def _hasFile(given: Mapping[str, Any]) -> bool:
    return "target-config" in given or given.get("token-plugin") in _FILES


_FILES = ("TokenFile", "ReadOnlyTokenFile")

_EXPLAIN = (needs("explain"),)

ACCESS = (
    Option(
        "session-timeout", "sessions.sessionTimeout", SECONDS, "Close a session after so many seconds. 0: never."
    ),
    Option(
        "session-idle-timeout", "sessions.sessionIdleTimeout", SECONDS,
        "Close a session in which nothing was said for so many seconds, either way. 0: never.",
    ),
    Option(
        "allow-target", "access.allowTargets", TARGETS,
        "Let tokens and links lead here, and nowhere else: CIDR[:PORTS], NAME[:PORTS] or unix:/DIR/*, such as "
        "10.0.0.0/8:5900-5999. It holds for the address that is dialled. Not about --target.",
        repeatable=True,
    ),
    Option(
        "deny-target", "access.denyTargets", TARGETS,
        "Do not let tokens and links lead here: CIDR[:PORTS] or unix:/DIR/*, whatever --allow-target says.",
        repeatable=True,
    ),
    Option(
        "token-revokes", "access.tokenRevokes", ON,
        "End the sessions of a token whose line is removed from its file. Some remove it to make it good for one time.",
        needs=(Need(_hasFile, "needs tokens of a file (--token-plugin TokenFile, --target-config)"),),
    ),
    Option(
        "explain", "inspection.explain", EXPLAINED,
        "Print what a request for this URL would get, and why, and exit: with 0 if it were let in, with 1 if not. "
        "Nothing is dialled. A URL that holds a token: @FILE or env:NAME, where other users cannot see it.",
    ),
    Option(
        "explain-header", "inspection.headers", EXPLAINED_HEADER,
        "With --explain: a header that the request has, as in 'Origin: https://example.com' or 'Cookie: …'; also as "
        "@FILE or env:NAME.",
        repeatable=True, needs=_EXPLAIN,
    ),
    Option(
        "explain-client", "inspection.client", ADDRESS,
        "With --explain: the address that it comes from, or unix. Default: 127.0.0.1.", needs=_EXPLAIN,
    ),
    Option(
        "check", "inspection.check", ON,
        "Read and make all that a start would, print a line for each problem, and exit: with 0 if there is none.",
    ),
)  # fmt: skip
