"""The options of the bridge itself: where it listens, where it leads, and how."""

from __future__ import annotations

from collections.abc import Mapping
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
    RATE,
    SECONDS,
    SECRET,
    SIZE,
    SUBPROTOCOL,
    TARGET,
    WORD,
    WORKERS,
    choice,
)
from wsproxy.command.option import PROGRAM, Need, Option, needs
from wsproxy.process.supervisor import WrapMode
from wsproxy.tls.server import VERSIONS

__all__ = ["BRIDGE"]


def _leadsToTLS(given: Mapping[str, Any]) -> bool:
    tokens = "token-plugin" in given or "target-config" in given  # which may say so
    return tokens or "ssl-target" in given or str(given.get("target")).lower().startswith(("tls:", "wss:", "@", "env:"))


_A_PROGRAM = (needs(PROGRAM, "needs a program, behind --"),)
_CERTIFICATE = (needs("cert", "needs a certificate (--cert)"),)
_TLS_TARGET = (Need(_leadsToTLS, "needs tls:, wss: or --ssl-target"),)
_RAW, _WEB, _RECORD = (needs("raw"),), (needs("web"),), (needs("record"),)

BRIDGE = (
    Option(
        "listen", "listening.listen", ENDPOINT, "Where to listen: port, host:port, unix:/path, any Twisted endpoint.",
        short="l", repeatable=True,
    ),
    Option(
        "workers", "listening.workers", WORKERS,
        "Processes that share the sessions, or auto: as many as there are processors; with a parent that can be "
        "upgraded (SIGUSR2). Default: one process by itself, which cannot.",
    ),
    Option(
        "target", "target.endpoint", TARGET,
        "Where the data goes: host:port, [::1]:5900, unix:/path, tls:host:port, wss://host/path, any Twisted client "
        "endpoint, or demo: for a built-in line server. A URL with a secret in it: @FILE or env:NAME.",
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
    Option(
        "raw-only", "clients.rawOnly", ON,
        "Pass every client to the target as it is, at once, whatever it speaks: to lead programs that know no "
        "WebSocket through one, with --target wss://….",
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
        "bandwidth", "sessions.bandwidth", RATE,
        "Bytes that each session may send, and receive, a second, such as 300k or 2M. 0: no limit.",
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
        needs=(*_CERTIFICATE, needs("cafile", "needs --cafile; whose signature is to be trusted?")),
    ),
    Option(
        "cafile", "tls.authorities", FILE, "PEM file with the authorities that --verify-client trusts.",
        needs=(*_CERTIFICATE, needs("verify-client", "needs --verify-client; nobody is verified without")),
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
