"""The table of options: each is spelled here, and nowhere else.

::

    table ─┬─► usage     the command line ─┐
           ├─► (a file)                    ├─► settings ─► Config, in whose groups the defaults stand
           ├─► help      --help, docs/options.rst
           └─► what shells complete

A new option is a line of this table and a field of a group; what uses the field is all that is left to write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from wsproxy.command.kinds import (
    COUNT,
    DEADLINE,
    DIRECTORY,
    ENDPOINT,
    FILE,
    NAME,
    OFF,
    ON,
    ORIGIN,
    PATTERN,
    SECONDS,
    SECRET,
    SIZE,
    SUBPROTOCOL,
    WORD,
    WORKERS,
    Kind,
    choice,
)
from wsproxy.config import GROUPS
from wsproxy.process.supervisor import WrapMode
from wsproxy.tls.server import VERSIONS

__all__ = ["HEADINGS", "PROGRAM", "TABLE", "Need", "Option", "byHeading"]

PROGRAM = "--"
"""What the program and its arguments are given by, which is no option."""

HEADINGS = {
    "listening": "Listening",
    "target": "Target",
    "program": "Program",
    "clients": "Clients",
    "sessions": "Sessions",
    "tls": "TLS",
    "web": "Files and pages",
    "recording": "Recording",
    "lifetime": "Ending",
    "logging": "Logging",
}
"""What is written above a group of L{Config<wsproxy.config.Config>}."""


@dataclass(frozen=True, slots=True)
class Need:
    """What an option makes no sense without.

    @ivar met: whether it is among what was given, by name.
    @ivar why: what is said where it is not.
    """

    met: Callable[[Mapping[str, Any]], bool]
    why: str


@dataclass(frozen=True, slots=True)
class Option:
    """
    One option.

    @ivar name: as the command line has it behind C{--}, and a file as it is.
    @ivar field: what it decides: a group of L{Config<wsproxy.config.Config>} and a field of that, with a dot between.
    @ivar help: whole sentences. What it defaults to, and that it is repeatable, is added to them.
    @ivar short: one letter.
    @ivar repeatable: the field is the tuple of all that was said.
    @ivar alone: it is about a single process.
    """

    name: str
    field: str
    kind: Kind
    help: str
    short: str | None = None
    repeatable: bool = False
    needs: tuple[Need, ...] = ()
    alone: bool = False

    @property
    def path(self) -> tuple[str, str]:
        """The group and the field."""
        group, _, field = self.field.partition(".")
        return group, field

    @property
    def default(self) -> Any:
        """That of the field; C{None} where it has none."""
        group, name = self.path
        [default] = [field.default for field in fields(GROUPS[group]) if field.name == name]
        return None if default is MISSING else default

    def parse(self, given: Any) -> Any:
        """
        @param given: the word, or a list of words; of a flag, anything.
        @raise ConfigError: it cannot be meant.
        """
        if self.repeatable:
            return tuple(self.kind.parse(self.name, word) for word in given)
        return self.kind.parse(self.name, given)


def _needs(name: str, why: str | None = None) -> Need:
    return Need(lambda given: name in given, why or f"needs --{name}")


def _leadsToTLS(given: Mapping[str, Any]) -> bool:
    return "ssl-target" in given or str(given.get("target")).startswith("tls:")


_A_PROGRAM = (_needs(PROGRAM, "needs a program, behind --"),)
_CERTIFICATE = (_needs("cert", "needs a certificate (--cert)"),)
_TLS_TARGET = (Need(_leadsToTLS, "needs tls: or --ssl-target"),)
_RAW, _WEB, _RECORD = (_needs("raw"),), (_needs("web"),), (_needs("record"),)

TABLE = (
    Option(
        "listen", "listening.listen", ENDPOINT, "Where to listen: port, host:port, unix:/path, any Twisted endpoint.",
        short="l", repeatable=True,
    ),
    Option(
        "workers", "listening.workers", WORKERS,
        "Processes that share the sessions, or auto: as many as there are processors.",
    ),
    Option(
        "target", "target.endpoint", ENDPOINT,
        "Where the data goes: host:port, [::1]:5900, unix:/path, tls:host:port, any Twisted client endpoint, or demo: "
        "for a built-in line server.",
        short="t",
    ),
    Option("connect-timeout", "target.connectTimeout", DEADLINE, "Seconds to reach the target."),
    Option("ssl-target", "target.tls", ON, "Speak TLS to the target."),
    Option(
        "target-cafile", "target.authorities", FILE,
        "PEM file with the authorities to trust for a target over TLS, instead of the system's.", needs=_TLS_TARGET,
    ),
    Option(
        "target-insecure", "target.insecure", ON, "Do not verify the certificate of a target over TLS.",
        needs=_TLS_TARGET,
    ),
    Option(
        "wrap-mode", "program.mode", choice(*(mode.value for mode in WrapMode)),
        "What the end of PROGRAM means: exit, the proxy ends with its status; ignore, it has put itself in the "
        "background; respawn, it is started again.",
        needs=_A_PROGRAM,
    ),
    Option(
        "every-port", "program.everyPort", ON, "Listen wherever PROGRAM does, instead of with --listen.",
        needs=_A_PROGRAM, alone=True,
    ),
    Option(
        "handshake-timeout", "clients.handshakeTimeout", DEADLINE,
        "Seconds for each stage of a client's arrival: first bytes, TLS, request, upgrade.",
    ),
    Option(
        "raw", "clients.raw", ON,
        "Pass clients that speak neither TLS nor HTTP to the target as they are: no --origin holds for them.",
    ),
    Option(
        "raw-after", "clients.rawAfter", SECONDS,
        "Seconds until a client that says nothing counts as one for --raw.", needs=_RAW,
    ),
    Option("no-flash-policy", "clients.flashPolicy", OFF, "Do not answer Flash policy requests."),
    Option(
        "origin", "sessions.origins", ORIGIN,
        "Accept pages of this origin: https://example.com, * for any; default 'self': of the same host.",
        repeatable=True,
    ),
    Option(
        "subprotocol", "sessions.subprotocols", SUBPROTOCOL,
        "Accept this WebSocket subprotocol beyond binary and base64.", repeatable=True,
    ),
    Option(
        "text", "sessions.text", ON, "Accept text messages too, as their UTF-8 bytes; what is sent stays binary."
    ),
    Option(
        "heartbeat", "sessions.heartbeat", SECONDS,
        "Ping each client every so many seconds; two of them without a sign of life close the session. 0: never.",
    ),
    Option(
        "no-pump", "sessions.pump", OFF,
        "Relay through Twisted's transports always, not from socket to socket where that is possible.",
    ),
    Option(
        "cert", "tls.certificate", FILE,
        "PEM file with the certificate, its chain and, without --key, its key. Default: self.pem in the current "
        "directory, if it exists.",
    ),
    Option("key", "tls.key", FILE, "PEM file with the certificate's key.", needs=_CERTIFICATE),
    Option(
        "key-password", "tls.password", SECRET,
        "Password of the key: @FILE or env:NAME, where other users cannot see it.", needs=_CERTIFICATE,
    ),
    Option("ssl-only", "tls.only", ON, "Refuse plaintext clients.", needs=_CERTIFICATE),
    Option(
        "ssl-version", "tls.minimum", choice(*VERSIONS), "The oldest TLS version to accept.",
        needs=_CERTIFICATE,
    ),
    Option(
        "ssl-ciphers", "tls.ciphers", WORD, "Ciphers up to TLS 1.2, as an OpenSSL cipher list.", needs=_CERTIFICATE
    ),
    Option(
        "verify-client", "tls.verifyClient", ON,
        "Demand a certificate of each client, signed by an authority of --cafile.",
        needs=(*_CERTIFICATE, _needs("cafile", "needs --cafile; whose signature is to be trusted?")),
    ),
    Option(
        "cafile", "tls.authorities", FILE, "PEM file with the authorities that --verify-client trusts.",
        needs=(*_CERTIFICATE, _needs("verify-client", "needs --verify-client; nobody is verified without")),
    ),
    Option("web", "web.directory", DIRECTORY, "Serve the files of this directory over HTTP."),
    Option("index", "web.index", NAME, "The file that answers for a directory of --web.", needs=_WEB),
    Option(
        "web-listing", "web.listing", ON, "Show listings of directories of --web that have no index file.", needs=_WEB
    ),
    Option("no-pages", "web.pages", OFF, "Do not serve the built-in pages."),
    Option(
        "record", "recording.path", PATTERN,
        "Record each session in a file of its own, for noVNC's playback page and wsproxy-replay: FILE.1, FILE.2, …; or "
        "as named by {session}, {time} and {peer} in FILE. It holds what users type, too.",
    ),
    Option(
        "record-max-size", "recording.maxSize", SIZE,
        "End a recording at this size: bytes, or with k, M or G. Default: none.", needs=_RECORD,
    ),
    Option(
        "record-keep", "recording.keep", COUNT, "Keep so many recordings, the newest ones. Default: all.",
        needs=_RECORD,
    ),
    Option(
        "record-required", "recording.required", ON, "Close a session that cannot be recorded, or only in part.",
        needs=_RECORD,
    ),
    Option("run-once", "lifetime.runOnce", ON, "Serve one session, then exit.", alone=True),
    Option(
        "timeout", "lifetime.timeout", SECONDS,
        "Stop listening after so many seconds, and exit when the last session ends. 0: never.", alone=True,
    ),
    Option(
        "idle-timeout", "lifetime.idleTimeout", SECONDS, "Exit after so many seconds without a session. 0: never.",
        alone=True,
    ),
    Option("drain", "lifetime.drain", SECONDS, "Seconds that open sessions are given after SIGTERM. 0: none."),
    Option("verbose", "logging.verbose", ON, "Log connections that open no session, too.", short="v"),
    Option(
        "traffic", "logging.traffic", ON,
        "Print a mark for each frame: } client receive, { target receive, > target send, < client send, and . after a "
        "partial one. With twistd -n only.",
        alone=True,
    ),
)  # fmt: skip


def byHeading() -> list[tuple[str, list[Option]]]:
    """@return: all options, under what is written above them."""
    return [
        (heading, [option for option in TABLE if option.path[0] == group]) for group, heading in HEADINGS.items()
    ]
