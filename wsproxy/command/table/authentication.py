"""The options about who clients are, and what they mean together: a plugin's source is what that plugin makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsproxy.access.origin import OriginPolicy
from wsproxy.command.kinds import CHECKER, DISCREET, FILE, ON, SECRET, WORD, Kind, isLiteral
from wsproxy.command.option import Need, Option, needs
from wsproxy.errors import ConfigError
from wsproxy.plugins.alias import isOriginals

__all__ = ["AUTHENTICATION", "AUTHENTICATORS", "settleAuthentication"]

AUTHENTICATORS = ("auth-plugin", "auth", "auth-url", "link-key")
"""Of these there is one."""

_CLASS = Kind("CLASS", WORD.parse)


def _asksSomebody(given: Mapping[str, Any]) -> bool:
    return any(name in given for name in AUTHENTICATORS)


AUTHENTICATION = (
    Option(
        "auth-plugin", "authentication.plugin", _CLASS,
        "Who says who may come in: BasicHTTPAuth, HtpasswdAuth, ExpectOrigin, ClientCertCNAuth, or any "
        "package.module.Class, also one that was written for websockify.",
    ),
    Option(
        "auth-source", "authentication.source", DISCREET,
        "What it is told: user:password, or lines of those as @FILE or env:NAME; a file as htpasswd -B makes them; "
        "origins; common names; whatever else CLASS takes.",
        needs=(needs("auth-plugin"),),
    ),
    Option(
        "auth", "authentication.checker", CHECKER,
        "Ask for a name and password, and have a credential checker of Twisted's decide: file:passwd.",
    ),
    Option(
        "web-auth", "authentication.web", ON, "Only whoever may come in sees pages and files.",
        needs=(Need(_asksSomebody, "needs --auth-plugin, --auth, --auth-url or --link-key; who is to be asked?"),),
    ),
)  # fmt: skip


def settleAuthentication(given: Mapping[str, Any], groups: dict[str, dict[str, Any]]) -> None:
    """
    Make of a source what its plugin does; of ExpectOrigin, the origin policy.

    @raise ConfigError: that cannot be.
    """
    plugin = given.get("auth-plugin")
    if plugin is None:
        return
    module, _, name = plugin.rpartition(".")
    if module and not isOriginals(module):
        return
    word: str = given.get("auth-source", "")
    if name in _WANTED and not word:
        raise ConfigError(f"--auth-plugin {name}: needs --auth-source: {_WANTED[name]}")
    if name == "BasicHTTPAuth":
        if isLiteral(word) and not all(word.partition(":")[::2]):  # of a variable that is not set; a file may say so
            raise ConfigError("--auth-source: the name or the password is empty")
        groups["authentication"]["source"] = SECRET.parse("auth-source", word)
    elif name == "HtpasswdAuth":
        groups["authentication"]["source"] = FILE.parse("auth-source", word.removeprefix("@"))
    elif name == "ClientCertCNAuth" and "verify-client" not in given:
        raise ConfigError(f"--auth-plugin {name}: needs --verify-client; certificates are not asked for without")
    elif name == "ExpectOrigin":
        _expectOrigin(given, groups)


def _expectOrigin(given: Mapping[str, Any], groups: dict[str, dict[str, Any]]) -> None:
    if "origin" in given:
        raise ConfigError("--auth-plugin ExpectOrigin: clashes with --origin; it is the same, and has its own list")
    if "web-auth" in given:
        raise ConfigError("--web-auth: browsers send no Origin for pages, which ExpectOrigin wants")
    origins = tuple(groups["authentication"].pop("source").split())
    if not origins:
        raise ConfigError(f"--auth-plugin ExpectOrigin: needs --auth-source: {_WANTED['ExpectOrigin']}")
    try:
        OriginPolicy(origins)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--origin", "--auth-source", 1)) from None
    del groups["authentication"]["plugin"]
    groups["sessions"] |= {"origins": origins, "originRequired": True}


_WANTED = {
    "BasicHTTPAuth": "user:password, or lines of those as @FILE",
    "HtpasswdAuth": "a file",
    "ExpectOrigin": "origins, with blanks between",
    "ClientCertCNAuth": "common names, with blanks between",
}
