"""From what websockify is told to what the proxy is: the settings, and what else a process of its own needs.

::

    --web DIR  ─► --web DIR --web-listing      what has another name here, or another default
    --wrap-mode, without a program ─► ignored  what was ignored there is ignored, with one warning for all
    --ssl-only, without a certificate ─► 2     what contradicts itself is told

Names on the right are those of the L{table<wsproxy.command.options>}.
"""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet.endpoints import quoteStringArgument

from wsproxy.command.option import PROGRAM
from wsproxy.command.settings import makeConfig
from wsproxy.config import Config, ProgramConfig
from wsproxy.errors import ConfigError
from wsproxy.websockify.options import Given

__all__ = ["Translation", "translate"]

_SAME = (
    "ssl_target",
    "token_plugin",
    "token_source",
    "target_config",
    "host_token",
    "auth_plugin",
    "auth_source",
    "web_auth",
    "web",
    "record",
    "run_once",
    "timeout",
    "idle_timeout",
    "heartbeat",
    "verbose",
    "traffic",
    "inetd",
)
"""What is the same here as there."""

_TLS = ("key", "key_password", "ssl_only", "ssl_ciphers", "verify_client", "cafile", "ssl_version")
"""What has no meaning without a certificate."""

_CERTIFICATE = "self.pem"

_AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)
"""Where systems keep theirs, if OpenSSL does not say."""


@dataclass(slots=True)
class Translation:
    """
    @ivar config: the settings.
    @ivar given: what they were made of, by the table's names.
    @ivar warnings: what is said at the start, a line each.
    @ivar daemon: go to the background.
    @ivar logFile: a file to log to, too.
    @ivar syslog: a socket's path, or a host and a port, to log to, too.
    @ivar legacySyslog: in the format from before RFC 5424.
    """

    config: Config = field(default_factory=Config)
    given: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    daemon: bool = False
    logFile: str | None = None
    syslog: str | tuple[str, int] | None = None
    legacySyslog: bool = False


def translate(words: Given) -> Translation:
    """
    @raise ConfigError: it makes no sense, in one line.
    """
    return _Translator(words).translate()


class _Translator:
    def __init__(self, words: Given) -> None:
        self._options: dict[str, Any] = {name: value for name, value in vars(words.options).items() if value}
        self._words = list(words.words)
        self._program = words.program
        self._ignored: list[str] = []
        self._out = Translation()

    def translate(self) -> Translation:
        out, options = self._out, self._options
        self._checkNeeds()
        self._translateTLS()
        self._translateListen()
        self._translateTarget()
        self._translateRest()
        for name in _SAME:
            if name in options:
                out.given[_long(name)] = options[name]
        config = makeConfig(out.given, certificate=None)
        if config.program is not None:
            config = replace(config, program=self._placed(config.program))
        out.config = replace(
            config, logging=replace(config.logging, original=True), tokens=replace(config.tokens, sockets=True)
        )
        self._warn()
        return out

    def _checkNeeds(self) -> None:
        options = self._options
        for name, *others in (
            ("token_source", "token_plugin"),
            ("host_token", "token_plugin", "target_config"),
            ("auth_source", "auth_plugin"),
            ("web_auth", "auth_plugin"),
            ("web_auth", "web"),
            ("legacy_syslog", "syslog"),
        ):
            if name in options and not any(other in options for other in others):
                raise ConfigError(f"--{_long(name)}: needs --{_long(others[0])}")

    # TLS

    def _translateTLS(self) -> None:
        options, given = self._options, self._out.given
        certificate = options.get("cert", _CERTIFICATE)
        if not os.path.exists(certificate):
            for name in ("ssl_only", "verify_client"):
                if name in options:
                    raise ConfigError(f"--{_long(name)}: needs a certificate, and there is no {certificate} (--cert)")
            self._ignore("there is no certificate", *(("cert", *_TLS) if "cert" in options else _TLS))
            return
        given["cert"] = certificate
        if "cafile" in options and "verify_client" not in options:
            self._ignore("without --verify-client", "cafile")
        for name in _TLS:
            if name in options:
                given[_long(name)] = options[name]
        if "verify_client" in options and "cafile" not in options:
            given["cafile"] = _systemAuthorities()
        version = options.get("ssl_version")
        if version in ("default", "tlsv1_1"):
            self._out.warnings.append(f"--ssl-version {version}: nothing older than TLS 1.2 is spoken here")
            given["ssl-version"] = "tlsv1_2"

    # Where from, and where to

    def _translateListen(self) -> None:
        options, given = self._options, self._out.given
        if "inetd" in options:
            self._ignore("with --inetd", "unix_listen", "unix_listen_mode", "prefer_ipv6", "traffic")
        elif "unix_listen" in options:
            mode = options.get("unix_listen_mode", "600")
            if not re.fullmatch("[0-7]{1,4}", mode):
                raise ConfigError(f"--unix-listen-mode {mode}: not an octal number")
            given["listen"] = [f"unix:{quoteStringArgument(os.path.abspath(options['unix_listen']))}:mode={mode}"]
            self._ignore("with --unix-listen", "prefer_ipv6")
        else:
            self._ignore("without --unix-listen", "unix_listen_mode")
            given["listen"] = [_place("listen", self._next("where to listen"), "")]

    def _translateTarget(self) -> None:
        options, given = self._options, self._out.given
        if "target_config" in options:
            self._ignore("beside --target-config", "token_plugin", "token_source")
        if "ssl_target" in options and "unix_target" in options:
            self._ignore("with --unix-target", "ssl_target")
        if self._program is not None:
            given[PROGRAM] = self._program
            if "wrap_mode" in options:
                given["wrap-mode"] = options["wrap_mode"]
        else:
            self._ignore("without a program", "wrap_mode")
            if "unix_target" in options:
                given["target"] = f"unix:{os.path.abspath(options['unix_target'])}"
            elif "token_plugin" not in options and "target_config" not in options:
                given["target"] = _place("target", self._next("where to go"), "localhost")
        if self._words:
            raise ConfigError(f"{self._words[0]}: one word too many")

    def _placed(self, program: ProgramConfig) -> ProgramConfig:
        """Of C{--unix-target}: it listens there by itself, and nothing of it is moved."""
        path = self._options.get("unix_target")
        return program if path is None else replace(program, address=f"unix:{os.path.abspath(path)}")

    def _next(self, what: str) -> str:
        if not self._words:
            raise ConfigError(f"too few words: {what}? websockify [HOST:]PORT HOST:PORT")
        return self._words.pop(0)

    # The rest

    def _translateRest(self) -> None:
        options, given, out = self._options, self._out.given, self._out
        given["no-pages"] = True
        if "web" in options and "file_only" not in options:
            given["web-listing"] = True
        if options.get("auth_plugin") not in _ASKS_ORIGIN:
            given["origin"] = ["*"]
            out.warnings.append(
                "any web page may connect (whatever its Origin): wsproxy checks that, and so does "
                "--auth-plugin ExpectOrigin"
            )
        self._ignore("", "libserver")
        out.daemon = "daemon" in options
        if out.daemon:
            self._ignore("with --daemon", "traffic")
        if "log_file" in options:
            out.logFile = os.path.abspath(options["log_file"])
        if "syslog" in options:
            out.syslog = _syslogServer(options["syslog"])
            out.legacySyslog = "legacy_syslog" in options

    def _ignore(self, why: str, *names: str) -> None:
        """These have no meaning here."""
        ignored = [f"--{_long(name)}" for name in names if self._options.pop(name, None) is not None]
        if ignored:
            self._ignored.append(" ".join([*ignored, *([f"({why})"] if why else [])]))

    def _warn(self) -> None:
        if self._ignored:
            self._out.warnings.append(f"ignored: {', '.join(self._ignored)}")


_ASKS_ORIGIN = ("ExpectOrigin", "websockify.auth_plugins.ExpectOrigin")


def _long(name: str) -> str:
    return name.replace("_", "-")


def _place(name: str, word: str, host: str) -> str:
    """
    @param word: C{HOST:PORT}, where HOST may be an IPv6 address without brackets; C{PORT} alone to listen.
    @param host: the one that is meant where none is said.
    """
    given, colon, port = word.rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port):
        raise ConfigError(f"{word}: no port at its end")
    if name == "target" and not colon:
        raise ConfigError(f"{word}: expected HOST:PORT, where to go")
    found = given.strip("[]") or host
    if not found:
        return port
    return f"[{found}]:{port}" if ":" in found else f"{found}:{port}"


def _syslogServer(word: str) -> str | tuple[str, int]:
    if ":" not in word:
        return os.path.abspath(word)
    host, _, port = word.rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port) or not host:
        raise ConfigError(f"--syslog {word}: expected a socket's path, or HOST:PORT")
    return host.strip("[]"), int(port)


def _systemAuthorities() -> str:
    paths = ssl.get_default_verify_paths()
    found = next((path for path in (paths.cafile, *_AUTHORITIES) if path and os.path.exists(path)), None)
    if found is None:
        raise ConfigError("--verify-client: this system has no file of authorities; name one with --cafile")
    return found
