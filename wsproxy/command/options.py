"""The command line of C{twistd websockify}: words in, a L{Config} out, or one line that says what is wrong.

twistd answers a wrong option with its whole usage text. An operator wants the one line that names the option
and its value, so L{Options} reports its own errors and leaves.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from getopt import GetoptError, getopt

from twisted.internet.endpoints import quoteStringArgument
from twisted.logger import Logger
from twisted.python import usage

from wsproxy import __version__
from wsproxy.access.origin import OriginPolicy
from wsproxy.config import (
    ClientsConfig,
    Config,
    LifetimeConfig,
    ListeningConfig,
    LoggingConfig,
    ProgramConfig,
    RecordingConfig,
    SessionsConfig,
    TargetConfig,
    TLSConfig,
    WebConfig,
)
from wsproxy.daemon.exit import complaint
from wsproxy.daemon.pidfile import checkPidfile
from wsproxy.errors import ConfigError

__all__ = ["Options"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_RELATIVE_SOCKET = re.compile(r"unix:(?!/|\w+=)(?=.)")
_COUNT = re.compile("[1-9][0-9]{0,8}")
_MOST_WORKERS = 512
_SIZE = re.compile("([1-9][0-9]{0,14})([kKmMgG]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SSL_VERSIONS = ("tlsv1_2", "tlsv1_3")
_REPEATABLE = frozenset({"listen", "origin", "subprotocol"})
_WRAP_MODES = ("exit", "ignore", "respawn")
_log = Logger()  # of the module: an instance's would put all options, secrets too, into each event


class Options(usage.Options):
    """
    What L{wsproxy.command.plugin} was told.

    @ivar config: the outcome, once L{parseOptions} has returned.
    """

    config: Config
    synopsis = "[options] --target ENDPOINT | -- PROGRAM ..."
    longdesc = (
        "A WebSocket-to-TCP proxy: one port that speaks WebSocket, HTTP and TLS in front of any TCP or "
        "unix-socket server, or of a program that it starts and whose port it moves out of the way. For a first "
        "look: twistd -n websockify --target demo: and a browser at http://localhost:6080/. SIGTERM and SIGINT "
        "end it gracefully, with exit status 0; a second one ends it at once, with 128 plus the signal's number. "
        "SIGHUP reloads the certificates."
    )

    # fmt: off
    optParameters = [
        ["target", "t", None,
         "Where the data goes: host:port, [::1]:5900, unix:/path, tls:host:port, any Twisted client "
         "endpoint, or demo: for a built-in line server."],
        ["wrap-mode", None, None,
         "What the end of PROGRAM means: exit (the default), the proxy ends with its status; ignore, it has put "
         "itself in the background; respawn, it is started again."],
        ["raw-after", None, None,
         "Seconds until a client that says nothing counts as one for --raw. Default: 1."],
        ["cert", None, None,
         "PEM file with the certificate, its chain and, without --key, its key. Default: self.pem in the "
         "current directory, if it exists."],
        ["key", None, None,
         "PEM file with the certificate's key."],
        ["key-password", None, None,
         "Password of the key: @FILE or env:NAME, where other users cannot see it."],
        ["ssl-version", None, None,
         "The oldest TLS version to accept: tlsv1_2 (the default) or tlsv1_3."],
        ["ssl-ciphers", None, None,
         "Ciphers up to TLS 1.2, as an OpenSSL cipher list."],
        ["cafile", None, None,
         "PEM file with the authorities that --verify-client trusts."],
        ["target-cafile", None, None,
         "PEM file with the authorities to trust for a target over TLS, instead of the system's."],
        ["web", None, None,
         "Serve the files of this directory over HTTP."],
        ["index", None, None,
         "The file that answers for a directory of --web. Default: index.html."],
        ["timeout", None, "0",
         "Stop listening after so many seconds, and exit when the last session ends. 0: never."],
        ["idle-timeout", None, "0",
         "Exit after so many seconds without a session. 0: never."],
        ["heartbeat", None, "25",
         "Ping each client every so many seconds; two of them without a sign of life close the session. 0: never. "
         "Default: 25."],
        ["connect-timeout", None, "10",
         "Seconds to reach the target."],
        ["handshake-timeout", None, "10",
         "Seconds for each stage of a client's arrival: first bytes, TLS, request, upgrade."],
        ["drain", None, "0",
         "Seconds that open sessions are given after SIGTERM. 0: none."],
        ["record", None, None,
         "Record each session in a file of its own, for noVNC's playback page and wsproxy-replay: FILE.1, "
         "FILE.2, …; or as named by {session}, {time} and {peer} in FILE. It holds what users type, too."],
        ["record-max-size", None, None,
         "End a recording at this size: bytes, or with k, M or G. Default: none."],
        ["record-keep", None, None,
         "Keep so many recordings, the newest ones. Default: all."],
        ["workers", None, "1",
         "Processes that share the sessions, or auto: as many as there are processors. Default: 1."],
    ]

    optFlags = [
        ["every-port", None,
         "Listen wherever PROGRAM does, instead of with --listen."],
        ["raw", None,
         "Pass clients that speak neither TLS nor HTTP to the target as they are: no --origin holds for them."],
        ["ssl-only", None,
         "Refuse plaintext clients."],
        ["verify-client", None,
         "Demand a certificate of each client, signed by an authority of --cafile."],
        ["ssl-target", None,
         "Speak TLS to the target."],
        ["target-insecure", None,
         "Do not verify the certificate of a target over TLS."],
        ["web-listing", None,
         "Show listings of directories of --web that have no index file."],
        ["no-pages", None,
         "Do not serve the built-in pages."],
        ["no-flash-policy", None,
         "Do not answer Flash policy requests."],
        ["run-once", None,
         "Serve one session, then exit."],
        ["text", None,
         "Accept text messages too, as their UTF-8 bytes; what is sent stays binary."],
        ["verbose", "v",
         "Log handshakes too."],
        ["record-required", None,
         "Close a session that cannot be recorded, or only in part."],
        ["no-pump", None,
         "Relay through Twisted's transports always, not from socket to socket where that is possible."],
        ["traffic", None,
         "Print a mark for each frame: } client receive, { target receive, > target send, < client send, "
         "and . after a partial one. With twistd -n only."],
    ]
    # fmt: on

    def __init__(self) -> None:
        super().__init__()
        self._secretVariables: set[str] = set()

    def opt_help(self) -> None:
        """Display this help and exit."""
        print(self)
        raise SystemExit(0)

    opt_h = opt_help

    def opt_listen(self, endpoint: str) -> None:
        """Where to listen: port, host:port, unix:/path, any Twisted endpoint. Repeatable. Default: 6080."""
        self.setdefault("listen", []).append(_absoluteSocket(_filled("listen", endpoint)))

    opt_l = opt_listen

    def opt_subprotocol(self, name: str) -> None:
        """Accept this WebSocket subprotocol beyond binary and base64. Repeatable."""
        if not _TOKEN.fullmatch(name):
            raise ConfigError(f"--subprotocol {name}: not a subprotocol's name")
        self.setdefault("subprotocol", []).append(name)

    def opt_origin(self, origin: str) -> None:
        """Accept pages of this origin: https://example.com, * for any; default 'self': of the same host. Repeatable."""
        OriginPolicy((origin,))
        self.setdefault("origin", []).append(origin)

    def opt_version(self) -> None:
        """Display the version and exit."""
        print(f"wsproxy {__version__}")
        raise SystemExit(0)

    def parseArgs(self, *words: str) -> None:
        if words:
            listen, target = words if len(words) == 2 else ("6080", "localhost:5900")
            raise ConfigError(f"{words[0]}: unexpected; say it as --listen {listen} --target {target}")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        @raise SystemExit: with the line for stderr; the exit status is then 1.
        """
        words = list(sys.argv[1:] if options is None else options)
        if "--" in words:  # getopt would swallow it, and the program would be any other word
            end = words.index("--")
            self["program"] = tuple(words[end + 1 :])
            del words[end:]
        try:
            self._forbidTwice(words)
            super().parseOptions(words)
        except (ConfigError, usage.UsageError) as error:
            raise SystemExit(complaint(error)) from None

    def _forbidTwice(self, words: Sequence[str]) -> None:
        """Of two values one would be forgotten, and which one is anybody's guess."""
        given: set[str] = set()
        with suppress(GetoptError):  # which is told of by whoever parses them in earnest
            for word, _ in getopt(words, self.shortOpt, self.longOpt)[0]:
                name = self.synonyms[word.lstrip("-")]
                if name in given and name not in _REPEATABLE:
                    raise ConfigError(f"--{name}: given twice")
                given.add(name)

    def postOptions(self) -> None:
        target, program = self._target(), self._program()
        if target is None and not program:
            raise ConfigError("--target is missing: say where the data goes, or demo: for a first look")
        if not (self["ssl-target"] or (target is not None and target.startswith("tls:"))):
            self._forbid(["target-cafile", "target-insecure"], "needs tls: or --ssl-target")
        if self["target-insecure"]:
            self._forbid(["target-cafile"], "clashes with --target-insecure")
        if self["web"] is None:
            self._forbid(["index", "web-listing"], "needs --web")
        if not self["raw"]:
            self._forbid(["raw-after"], "needs --raw")
        if self["record"] is None:
            self._forbid(["record-max-size", "record-keep", "record-required"], "needs --record")
        workers = self._workers()
        if workers > 1:
            self._forbid(["every-port", "run-once", "traffic"], f"clashes with --workers {self['workers']}")
            for name in ("timeout", "idle-timeout"):
                if self._seconds(name):
                    self._forbid([name], f"clashes with --workers {self['workers']}")
        if self.parent is not None and not self.parent.get("nodaemon", True):
            self._forbid(["traffic"], "needs twistd -n; a daemon has no terminal")
        self.config = Config(
            listening=ListeningConfig(
                tuple(self.get("listen", () if self["every-port"] else ("6080",))), workers
            ),
            target=TargetConfig(
                target,
                self._deadline("connect-timeout"),
                bool(self["ssl-target"]),
                self._file("target-cafile"),
                bool(self["target-insecure"]),
            ),
            program=ProgramConfig(program, self["wrap-mode"] or _WRAP_MODES[0], bool(self["every-port"]))
            if program
            else None,
            clients=ClientsConfig(
                self._deadline("handshake-timeout"),
                bool(self["raw"]),
                self._seconds("raw-after") if self["raw-after"] is not None else 1.0,
                not self["no-flash-policy"],
            ),
            sessions=SessionsConfig(
                tuple(self.get("origin", ())),
                tuple(self.get("subprotocol", ())),
                bool(self["text"]),
                self._seconds("heartbeat"),
                not self["no-pump"],
            ),
            tls=self._tls(),
            web=WebConfig(self._directory("web"), self._index(), bool(self["web-listing"]), not self["no-pages"]),
            recording=self._recording(),
            lifetime=LifetimeConfig(
                bool(self["run-once"]), self._seconds("timeout"), self._seconds("idle-timeout"), self._seconds("drain")
            ),
            logging=LoggingConfig(bool(self["verbose"]), bool(self["traffic"])),
        )
        if self.parent is not None:
            checkPidfile(self.parent.get("pidfile"))
        for name in self._secretVariables:
            del os.environ[name]  # whatever is started here inherits the rest

    def _target(self) -> str | None:
        word: str | None = self["target"]
        return None if word is None else _absoluteSocket(_filled("target", word))

    def _program(self) -> tuple[str, ...]:
        """What follows a literal C{--}, instead of a target."""
        words: tuple[str, ...] | None = self.get("program")
        if words is None:
            self._forbid(["wrap-mode", "every-port"], "needs a program, behind --")
            return ()
        if not words or not words[0]:
            raise ConfigError("--: a program is wanted behind it")
        self._forbid(["target"], f"clashes with the program, -- {words[0]}")
        if self["wrap-mode"] not in (None, *_WRAP_MODES):
            raise ConfigError(f"--wrap-mode {self['wrap-mode']}: not one of {', '.join(_WRAP_MODES)}")
        if "listen" in self:
            self._forbid(["every-port"], "clashes with --listen")
        return words

    def _tls(self) -> TLSConfig | None:
        if self["cert"] is None and os.path.exists("self.pem"):
            self["cert"] = "self.pem"
        certificate = self._file("cert")
        if certificate is None:
            self._forbid(
                ["key", "key-password", "ssl-only", "ssl-version", "ssl-ciphers", "verify-client", "cafile"],
                "needs a certificate (--cert)",
            )
            return None
        if self["cafile"] is None:
            self._forbid(["verify-client"], "needs --cafile; whose signature is to be trusted?")
        if not self["verify-client"]:
            self._forbid(["cafile"], "needs --verify-client; nobody is verified without")
        minimum = self["ssl-version"] or _SSL_VERSIONS[0]
        if minimum not in _SSL_VERSIONS:
            raise ConfigError(f"--ssl-version {minimum}: not one of {', '.join(_SSL_VERSIONS)}")
        return TLSConfig(
            certificate,
            key=self._file("key"),
            password=self._secret("key-password"),
            only=bool(self["ssl-only"] or self["verify-client"]),
            minimum=minimum,
            ciphers=self["ssl-ciphers"],
            verifyClient=bool(self["verify-client"]),
            authorities=self._file("cafile"),
        )

    def _forbid(self, names: Iterable[str], why: str) -> None:
        """Complain about the first of these options that was given; a secret is not repeated."""
        for name in names:
            word = self[name]
            if word == 1 or (word and name == "key-password"):
                raise ConfigError(f"--{name}: {why}")
            if word:
                raise ConfigError(f"--{name} {word}: {why}")

    def _file(self, name: str) -> str | None:
        """The absolute path of a file that can be read now: twistd may change directory and user later."""
        path: str | None = self[name]
        if path is None:
            return None
        if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
            raise ConfigError(f"--{name} {path}: not a regular file")  # to read a FIFO is to wait for its other end
        _read(name, path)
        return os.path.abspath(path)

    def _directory(self, name: str) -> str | None:
        path: str | None = self[name]
        if path is None:
            return None
        try:
            os.scandir(path).close()
        except OSError as error:
            raise ConfigError(f"--{name} {path}: {error.strerror}") from None
        return os.path.abspath(path)

    def _index(self) -> str:
        name: str | None = self["index"]
        if name is None:
            return "index.html"
        if "/" in name:
            raise ConfigError(f"--index {name}: a name is wanted, not a path")
        return _filled("index", name)

    def _recording(self) -> RecordingConfig | None:
        path: str | None = self["record"]
        size, count = self._size("record-max-size"), self._count("record-keep")
        if path is None:
            return None
        return RecordingConfig(
            os.path.abspath(_filled("record", path)), size, count, bool(self["record-required"])
        )

    def _size(self, name: str) -> int:
        """Bytes; 0 if it was not given."""
        word: str | None = self[name]
        if word is None:
            return 0
        match = _SIZE.fullmatch(word)
        if match is None:
            raise ConfigError(f"--{name} {word}: not a number of bytes, such as 500000, 64k, 100M or 2G")
        return int(match[1]) * _UNITS[match[2].lower()]

    def _count(self, name: str) -> int:
        """From 1; or 0 if it was not given."""
        word: str | None = self[name]
        if word is None:
            return 0
        if not _COUNT.fullmatch(word):
            raise ConfigError(f"--{name} {word}: not a number from 1")
        return int(word)

    def _workers(self) -> int:
        word: str = self["workers"]
        if word == "auto":
            return _processors()
        count = int(word) if _COUNT.fullmatch(word) else 0
        if not 1 <= count <= _MOST_WORKERS:
            raise ConfigError(f"--workers {word}: neither a number from 1 to {_MOST_WORKERS} nor auto")
        return count

    def _seconds(self, name: str) -> float:
        try:
            seconds = float(self[name])
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise ConfigError(f"--{name} {self[name]}: not a number of seconds")
        return seconds

    def _deadline(self, name: str) -> float:
        seconds = self._seconds(name)
        if not seconds:
            raise ConfigError(f"--{name} {self[name]}: nobody can be that fast")
        return seconds

    def _secret(self, name: str) -> str | None:
        """What C{@FILE} holds (less the newline at its end) or C{env:NAME} names; else the word itself."""
        word: str | None = self[name]
        if word is None:
            return None
        if word.startswith("@"):
            return _read(name, word[1:]).rstrip("\r\n")
        if word.startswith("env:"):
            if word[4:] not in os.environ:
                raise ConfigError(f"--{name} {word}: not in the environment")
            self._secretVariables.add(word[4:])
            return os.environ[word[4:]]
        _log.warn("--{name}: all users of this machine can read it; use @FILE or env:NAME", name=name)
        return word


def _processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _filled(name: str, word: str) -> str:
    if not word.strip():
        raise ConfigError(f"--{name} '{word}': empty")
    return word


def _read(name: str, path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except OSError as error:
        raise ConfigError(f"--{name} {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"--{name} {path}: not a text file") from None


def _absoluteSocket(endpoint: str) -> str:
    """C{unix:name} as C{unix:/full/path/name}; every other endpoint as it is."""
    if not _RELATIVE_SOCKET.match(endpoint):
        return endpoint
    return f"unix:{quoteStringArgument(os.getcwd())}/{endpoint.removeprefix('unix:')}"
