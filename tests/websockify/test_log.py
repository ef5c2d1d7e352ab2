"""Where C{websockify} logs to, and in which words."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.config import Config, LoggingConfig, ProgramConfig, TargetConfig, TokensConfig, WebConfig
from wsproxy.errors import Close, CloseCode, ConfigError
from wsproxy.interfaces import Ending, IObserver, Request, Target
from wsproxy.service.originallines import OriginalLines
from wsproxy.websockify.log import makeLogs
from wsproxy.websockify.translation import Translation

WHEN = 1764152400.0
CLIENT = IPv6Address("TCP", "::ffff:192.0.2.7", 50000)


class FakeSession:
    """As far as lines are made of it."""

    id = "0" * 32

    def __init__(self, target: str, path: str = "/", query: dict[str, Any] | None = None, **facts: Any) -> None:
        self.target = Target(target)
        here = IPv4Address("TCP", "127.0.0.1", 6080)
        facts = {"peer": CLIENT, "secure": False, **facts}
        self.request = Request(path=path, headers={}, host=here, queryAll=query or {}, **facts)


class FakePort:
    def __init__(self, host: str, port: int) -> None:
        self.host = IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)

    def getHost(self) -> Any:
        return self.host


class LineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.lines: list[str] = []

        def observe(event: Any) -> None:
            if "original" in event:
                self.lines.append(event["original"])

        globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def make(self, config: Config = Config(), shownPath: Any = None) -> OriginalLines:  # noqa: B008  # frozen
        return OriginalLines(config, shownPath, now=lambda: WHEN)

    def said(self) -> list[str]:
        """What follows the client and the time."""
        lines, self.lines = self.lines, []
        return [line.partition("] ")[2] for line in lines]

    def test_interface(self) -> None:
        """It observes sessions."""
        self.assertTrue(IObserver.providedBy(self.make()))

    def test_opened(self) -> None:
        """Who came, how, where to; with the client before it, and the time."""
        self.make().opened(FakeSession("localhost:5900"))  # type: ignore[arg-type]
        self.assertRegex(self.lines[0], r"^192\.0\.2\.7 - - \[\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d\] 192\.0\.2\.7: Plain")
        self.assertEqual(
            self.said(),
            ["192.0.2.7: Plain non-SSL (ws://) WebSocket connection", "connecting to: localhost:5900"],
        )

    def test_secure(self) -> None:
        """TLS on either side is told of."""
        lines = self.make(Config(target=TargetConfig("h:1", tls=True)))
        lines.opened(FakeSession("h:1", secure=True))  # type: ignore[arg-type]
        self.assertEqual(
            self.said(), ["192.0.2.7: SSL/TLS (wss://) WebSocket connection", "connecting to: h:1 (using SSL)"]
        )

    def test_path(self) -> None:
        """A path is told, and of its query the names: a value may be a token. So may a path, whose template is told."""
        self.make().opened(FakeSession("h:1", "/websockify", {"token": ("hush",), "a": ("",)}))  # type: ignore[arg-type]
        self.assertEqual(self.said()[1], "192.0.2.7: Path: '/websockify?token=…&a=…'")
        self.make(shownPath=lambda request: "/vnc/{token}").opened(FakeSession("h:1", "/vnc/hush"))  # type: ignore[arg-type]
        self.assertEqual(self.said()[1], "192.0.2.7: Path: '/vnc/{token}'")

    def test_targets(self) -> None:
        """Sockets and programs are named as such, IPv6 without brackets."""
        lines = self.make()
        for target, told in (
            ("unix:/run/vnc", "connecting to unix socket: /run/vnc"),
            ("[::1]:5900", "connecting to: ::1:5900"),
        ):
            lines.opened(FakeSession(target))  # type: ignore[arg-type]
            self.assertEqual(self.said()[-1], told)
        lines = self.make(Config(program=ProgramConfig(("prog", "-v"))))
        lines.opened(FakeSession("prog"))  # type: ignore[arg-type]
        self.assertEqual(self.said()[-1], "connecting to command: 'prog -v'")
        lines = self.make(Config(program=ProgramConfig(("prog", "-v"), address="unix:/s")))
        lines.opened(FakeSession("prog"))  # type: ignore[arg-type]
        self.assertEqual(self.said()[-1], "connecting to unix socket: /s")

    def test_unixClient(self) -> None:
        """A client of a socket file has no address."""
        self.make().opened(FakeSession("h:1", peer=UNIXAddress(None)))  # type: ignore[arg-type]
        self.assertTrue(self.lines[0].startswith("unix - - ["), self.lines)

    def test_closed(self) -> None:
        """Who closed is told with --verbose; that a target could not be reached, always."""
        session: Any = FakeSession("h:5900")
        normal, failed = Close(CloseCode.NORMAL, "x"), Close(CloseCode.INTERNAL_ERROR, "Target refused")
        for verbose, by, close, told in (
            (True, "client", normal, ["h:5900: Client closed connection", "h:5900: Closed target"]),
            (True, "target", normal, ["h:5900: Target closed connection", "h:5900: Closed target"]),
            (False, "target", normal, []),
            (False, "target", failed, ["Failed to connect to h:5900: connection refused"]),
            (True, "proxy", Close(CloseCode.GOING_AWAY, "x"), ["h:5900: Closed target"]),
        ):
            lines = self.make(Config(logging=LoggingConfig(verbose=verbose)))
            lines.opened(session)
            self.said()
            lines.closed(session, Ending(by, close, "connection refused"))
            self.assertEqual(self.said(), told)

    def test_announce(self) -> None:
        """At the start: where, what is served, and where to, with the port that it really is."""
        self.make(Config(target=TargetConfig("localhost:5900"), web=WebConfig("/srv"))).announce(FakePort("::", 6080))  # type: ignore[arg-type]
        self.assertEqual(
            self.lines,
            [
                "WebSocket server settings:",
                "  - Listen on :6080",
                "  - Web server (no directory listings). Web root: /srv",
                "  - No SSL/TLS support (no cert file)",
                "  - proxying from :6080 to localhost:5900",
            ],
        )
        for config, told in (
            (Config(tokens=TokensConfig(plugin="a.B")), "  - proxying from 127.0.0.1:1 to targets generated by B"),
            (Config(tokens=TokensConfig(file="/t")), "  - proxying from 127.0.0.1:1 to targets generated by TokenFile"),
            (Config(program=ProgramConfig(("p", "q"))), "  - proxying from 127.0.0.1:1 to 'p q'"),
            (Config(program=ProgramConfig(("p",), address="unix:/s")), "  - proxying from 127.0.0.1:1 to /s"),
        ):
            self.make(config).announce(FakePort("127.0.0.1", 1))  # type: ignore[arg-type]
            self.assertEqual(self.lines[-1], told)


class PlaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())  # short, for a socket
        self.addCleanup(os.rmdir, self.folder)
        self.clock = Clock()

    def makeLogs(self, told: Translation, stderr: Any = None) -> Any:
        reactor: Any = self.clock
        reactor.callFromThread = lambda call, *arguments: call(*arguments)
        return makeLogs(told, reactor, stderr)

    def test_file(self) -> None:
        """The file and stderr both have all, the original's lines as they are."""
        path = self.folder / "log"
        self.addCleanup(path.unlink)
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        with open(write, "w") as stderr:
            log = self.makeLogs(Translation(logFile=str(path)), stderr)
            log.observer({"original": "line", "log_time": WHEN})
            log.observer({"log_format": "other", "log_time": WHEN})
            log.finish(1)
            text = os.read(read, 4096).decode()
        self.assertEqual(path.read_text(), text)
        self.assertRegex(text, r"^line\n\d{4}-\S+ \[\S+\] other\n$")

    def test_noFile(self) -> None:
        """A file that cannot be opened is told of by its option."""
        error = self.assertRaises(ConfigError, self.makeLogs, Translation(logFile="/no/log"))
        self.assertIn("--log-file /no/log", str(error))

    def test_daemon(self) -> None:
        """A daemon has no stderr."""
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        with open(write, "w") as stderr:
            log = self.makeLogs(Translation(daemon=True), stderr)
            log.observer({"original": "line"})
            log.finish(1)
        self.assertEqual(os.read(read, 4096), b"")

    def test_syslog(self) -> None:
        """To a socket file or over UDP; in the format of RFC 5424, or the one before."""
        path = str(self.folder / "syslog")
        self.addCleanup(os.unlink, path)
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as remote,
        ):
            local.bind(path)
            remote.bind(("127.0.0.1", 0))
            for server, place in ((local, path), (remote, remote.getsockname())):
                server.settimeout(5)
                log = self.makeLogs(Translation(syslog=place))
                log.observer({"log_format": "{original}", "original": "a line"})
                self.assertRegex(
                    server.recv(4096), rb"^<14>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S+ websockify \d+ - - .*a line$"
                )
                log = self.makeLogs(Translation(syslog=place, legacySyslog=True, daemon=True))
                log.observer({"log_format": "{original}", "original": "a line"})
                self.assertRegex(server.recv(4096), rb"^<30>websockify\[\d+\]: .*a line$")
        error = self.assertRaises(ConfigError, self.makeLogs, Translation(syslog=("nowhere.invalid", 514)))
        self.assertIn("--syslog nowhere.invalid:514", str(error))
