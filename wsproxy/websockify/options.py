"""What websockify 0.13 takes: all of its options, anywhere among the words, by any unique beginning of their names.

optparse reads them, as there: so the last of two values counts, and C{-D6v} is three flags. The program begins at the
first C{--}.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from optparse import OptionGroup, OptionParser, Values
from typing import NoReturn

from wsproxy import __version__
from wsproxy.escape import escape
from wsproxy.process.supervisor import WrapMode

__all__ = ["GROUPS", "TLS_VERSIONS", "Given", "Word", "makeParser", "parse"]

TLS_VERSIONS = ("default", "tlsv1_1", "tlsv1_2", "tlsv1_3")


@dataclass(frozen=True, slots=True)
class Word:
    """
    One option.

    @ivar names: the long one first.
    @ivar placeholder: what stands for its value; empty for a flag.
    @ivar choices: the values there are, where those are few.
    """

    names: tuple[str, ...]
    placeholder: str
    help: str
    choices: tuple[str, ...] = ()

    def addTo(self, group: OptionGroup) -> None:
        if not self.placeholder:
            group.add_option(*self.names, action="store_true", default=False, help=self.help)
        elif self.choices:
            group.add_option(*self.names, type="choice", choices=self.choices, metavar=self.placeholder, help=self.help)
        else:
            group.add_option(*self.names, metavar=self.placeholder, help=self.help)


def _flag(*names: str, help: str) -> Word:
    return Word(names, "", help)


def _value(name: str, placeholder: str, help: str, *choices: str) -> Word:
    return Word((name,), placeholder, help, choices)


GROUPS = {
    "Where": (
        _value("--unix-listen", "FILE", "Listen on this unix socket, instead of a port."),
        _value("--unix-listen-mode", "MODE", "Its permissions, octal; 600 by default."),
        _value("--unix-target", "FILE", "Lead to this unix socket."),
        _flag("--inetd", help="Serve the socket on stdin: one that listens, or one client."),
        _flag("--prefer-ipv6", "-6", help="Nothing: a name is listened on at all of its addresses."),
        _flag("--ssl-target", help="Speak TLS to the target, whose certificate is verified."),
        _value(
            "--wrap-mode", "MODE", "What the end of the program behind -- means: exit (default), ignore or respawn.",
            *(mode.value for mode in WrapMode),
        ),
    ),
    "Who": (
        _value("--token-plugin", "CLASS", "Who says where each token leads, such as TokenFile."),
        _value("--token-source", "ARG", "What it is told."),
        _value("--target-config", "FILE", "The same as --token-plugin TokenFile --token-source FILE."),
        _flag("--host-token", help="Take the Host for the token."),
        _value("--auth-plugin", "CLASS", "Who says who may come in, such as BasicHTTPAuth."),
        _value("--auth-source", "ARG", "What it is told."),
        _flag("--web-auth", help="Ask about pages and files, too."),
    ),
    "TLS": (
        _value("--cert", "FILE", "The certificate; self.pem by default. Where there is none there is no TLS."),
        _value("--key", "FILE", "Its key, if that is not in the same file."),
        _value("--key-password", "SECRET", "The key's password: @FILE or env:NAME, where others cannot see it."),
        _flag("--ssl-only", help="Refuse plaintext clients."),
        _flag("--verify-client", help="Demand a certificate of each client."),
        _value("--cafile", "FILE", "Whose signatures are good on those; by default the system's authorities'."),
        _value(
            "--ssl-version", "VERSION", "The oldest version: tlsv1_2 (also meant by default and tlsv1_1) or tlsv1_3.",
            *TLS_VERSIONS,
        ),
        _value("--ssl-ciphers", "LIST", "Ciphers, as an OpenSSL cipher list."),
    ),
    "Files": (
        _value("--web", "DIR", "Serve the files of this directory, and listings of what has no index."),
        _flag("--file-only", help="No listings."),
        _value("--record", "FILE", "Record each session in FILE.1, FILE.2, ..."),
    ),
    "How long": (
        _flag("--daemon", "-D", help="Go to the background."),
        _flag("--run-once", help="Serve one session, then exit."),
        _value("--timeout", "SEC", "Stop listening after so long."),
        _value("--idle-timeout", "SEC", "Exit after so long without a session."),
        _value("--heartbeat", "SEC", "Ping each client that often; 25 by default, 0 for never."),
    ),
    "Logging": (
        _flag("--verbose", "-v", help="Log more: who closed, and connections that open no session."),
        _flag("--traffic", help="Print a mark for each frame to stdout."),
        _value("--log-file", "FILE", "Log to this file as well as to stderr."),
        _value("--syslog", "SERVER", "Log to syslog as well: /dev/log, or HOST:PORT over UDP."),
        _flag("--legacy-syslog", help="In the old format, not that of RFC 5424."),
        _flag("--libserver", help="Nothing."),
    ),
}  # fmt: skip
"""All of them, under headings of ours."""

_USAGE = """
    %prog [options] [HOST:]PORT HOST:PORT
    %prog [options] --token-plugin CLASS [HOST:]PORT
    %prog [options] --unix-target FILE [HOST:]PORT
    %prog [options] [HOST:]PORT -- PROGRAM [ARGS...]"""


@dataclass(frozen=True, slots=True)
class Given:
    """
    @ivar options: by name, with C{_} for C{-}; L{None} or L{False} where not given.
    @ivar words: what else there was.
    @ivar program: what followed C{--}; L{None} without one.
    """

    options: Values
    words: list[str]
    program: tuple[str, ...] | None


class _Parser(OptionParser):
    def error(self, msg: str) -> NoReturn:
        """@raise SystemExit: with 2, and one line on stderr without the usage."""
        self.exit(2, f"websockify: {escape(msg, None)}\n")


def makeParser() -> OptionParser:
    parser = _Parser(
        _USAGE,
        prog="websockify",
        version=f"wsproxy {__version__}",
        description="WebSocket clients on one side, a TCP server on the other: wsproxy with websockify's command line.",
        epilog="Exit status: 0, 1 where it cannot start, 2 for wrong words.",
    )
    for heading, options in GROUPS.items():
        group = parser.add_option_group(heading)
        for option in options:
            option.addTo(group)
    return parser


def parse(words: Sequence[str]) -> Given:
    """
    @raise SystemExit: with 2 for wrong words, with 0 behind help or the version.
    """
    own, program = list(words), None
    if "--" in own:
        at = own.index("--")
        own, program = own[:at], tuple(own[at + 1 :])
    options, rest = makeParser().parse_args(own)
    return Given(options, rest, program)
