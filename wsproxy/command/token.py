"""C{wsproxy token}: makes a link, for a proxy with C{--link-key}. It asks nobody, and nobody needs to be asked."""

from __future__ import annotations

import re
import sys
import time
from argparse import ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from typing import Any

from wsproxy.command.kinds import SECRET
from wsproxy.errors import ConfigError, WordsError
from wsproxy.tokens.targets import asTarget

__all__ = ["describe", "run"]

_LIFETIME = re.compile("([1-9][0-9]{0,8})([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 3660 * 86400

_EPILOG = """\
The key is that of the proxy's --link-key: 32 bytes or more, which whoever has them makes links with.

    openssl rand -hex 32 >link.key
    twistd -n websockify --link-key @link.key --web-auth --web /usr/share/novnc
    wsproxy token --key @link.key --target 10.0.0.7:5900 --identity alice --once --url https://proxy.example/vnc.html

Exit status: 0; 1 with one line on stderr when there is no link to be made, of the key say; 2 for wrong words.
"""


def describe(commands: Any) -> None:
    """@param commands: what C{add_subparsers} has returned."""
    parser = commands.add_parser(
        "token",
        help="Make a link for a proxy with --link-key.",
        description="Print a signed token that says who may come, where it leads, and until when; or a link with it.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--key", metavar="SECRET", required=True, help="the key: @FILE or env:NAME, where other users cannot see it")
    add("--target", metavar="ENDPOINT", required=True, help="where it leads: host:port, [::1]:5900, tls:…, unix:/path")
    add("--identity", metavar="NAME", help="who comes with it, for the log and for limits; default: anybody")
    add(
        "--expires", metavar="TIME", type=_lifetime, default=600,
        help="how long it is good, its sessions included: seconds, or with s, m, h or d; default: 10m",
    )  # fmt: skip
    add("--once", action="store_true", help="it is good for one session")
    add("--audience", metavar="NAME", help="for which proxies: those with this --token-audience")
    add("--issuer", metavar="NAME", help="whom it is from, for proxies with this --token-issuer")
    add(
        "--url", metavar="URL",
        help="print this address with the token in it: in the place of {token}, else as token= in the query, which a "
        "proxy with --web-auth keeps in a cookie",
    )  # fmt: skip


def run(options: Namespace) -> str:
    """
    @return: what is to be printed.
    @raise ConfigError: there is no such link.
    """
    try:
        from wsproxy.links.mint import claimsFor, linkTo, mint
    except ModuleNotFoundError:
        raise ConfigError("token: needs joserfc: pip install 'wsproxy[jwt]'") from None
    _checkTarget(options.target)
    if options.identity is not None and not 0 < len(options.identity) <= 256:
        raise WordsError("--identity: expected 1 to 256 characters")
    claims = claimsFor(
        options.target,
        now=time.time(),
        lifetime=options.expires,
        identity=options.identity,
        once=options.once,
        aud=options.audience,
        iss=options.issuer,
    )
    try:
        token = mint(_secret(options.key), claims)
    except ConfigError as error:
        raise ConfigError(f"--key: {error}") from None
    if options.url is None:
        return token
    try:
        return linkTo(options.url, token)
    except ConfigError as error:
        raise WordsError(f"--url: {error}") from None


def _lifetime(word: str) -> int:
    match = _LIFETIME.fullmatch(word)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST:
        raise ArgumentTypeError(f"{word} is not a time such as 90, 10m, 8h or 7d")
    return seconds


def _checkTarget(text: str) -> None:
    try:
        asTarget(text)
    except ConfigError as error:
        raise WordsError(f"--target: {error}") from None


def _secret(word: str) -> bytes:
    """What L{SECRET} makes of it; where that is what everybody can see, it says so on stderr."""
    if not word.startswith(("@", "env:")):
        print("wsproxy: --key: all users of this machine can read it; use @FILE or env:NAME", file=sys.stderr)
        return word.encode("utf-8", "surrogateescape")
    secret: str = SECRET.parse("key", word)
    return secret.encode("utf-8", "surrogateescape")
