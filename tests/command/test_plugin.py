"""From options to a service: what tap adds to the proxy it runs."""

from __future__ import annotations

import atexit
import resource
import sys
from io import StringIO
from typing import Any

from twisted.application.service import Application, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.command import plugin
from wsproxy.command.managed import Managed
from wsproxy.daemon.exit import Exit
from wsproxy.daemon.log import Log, SyslogObserver
from wsproxy.daemon.servicemanager import ServiceManager
from wsproxy.daemon.successor import Successor
from wsproxy.errors import ConfigError, WordsError


class Proxy(MultiService):
    """Starts as far as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.started: Deferred[None] = Deferred()
        self.serving: Deferred[None] = Deferred()


class Stopper:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.obeyed: list[object] = []
        self.failures: list[Failure] = []

    def obeySignals(self, proxy: object) -> None:
        self.obeyed.append(proxy)

    def fail(self, failure: Failure) -> None:
        self.failures.append(failure)


class ProcessServiceTests(SynchronousTestCase):
    """A proxy that has the process to itself."""

    def setUp(self) -> None:
        self.limits: list[tuple[int, tuple[int, int]]] = []
        self.patch(resource, "getrlimit", lambda kind: (1024, 4096))
        self.patch(resource, "setrlimit", lambda kind, limits: self.limits.append((kind, limits)))
        self.proxy = Proxy()
        self.stopper = Stopper()
        self.service = self.make(Log())

    def make(self, log: Log) -> plugin.ProcessService:
        self.managed = Managed(self.proxy, Clock(), ServiceManager({}))  # type: ignore[arg-type]
        return plugin.ProcessService(self.proxy, self.stopper, log, self.managed)  # type: ignore[arg-type]

    def test_starts(self) -> None:
        """Signals are obeyed and the limit of descriptors is raised before anything listens."""
        order: list[object] = []
        self.proxy.privilegedStartService = lambda: order.append((self.stopper.obeyed[:], self.limits[:]))
        self.service.privilegedStartService()
        self.assertEqual(order, [([self.managed], [(resource.RLIMIT_NOFILE, (4096, 4096))])])

    def test_twist(self) -> None:
        """C{twist} starts it without asking for what privileges are needed for; it listens all the same, once."""
        starts: list[None] = []
        self.proxy.privilegedStartService = lambda: starts.append(None)
        self.service.startService()
        self.assertEqual(len(starts), 1)
        service = self.make(Log())
        service.privilegedStartService()
        service.startService()
        self.assertEqual(len(starts), 2)

    def test_observer(self) -> None:
        """The application that it becomes part of logs where it says."""
        observer = SyslogObserver("me", self.mktemp())
        application = Application("app")
        self.make(Log(observer)).setServiceParent(application)
        self.assertIs(application.getComponent(ILogObserver), observer)
        application = Application("app")
        self.make(Log()).setServiceParent(application)
        self.assertIs(application.getComponent(ILogObserver, None), None)

    def test_failsAtOnce(self) -> None:
        """A listener that cannot be bound raises, for twistd to report."""
        self.proxy.started.errback(ConfigError("--listen 80: taken"))
        error = self.assertRaises(ConfigError, self.service.privilegedStartService)
        self.assertEqual(str(error), "--listen 80: taken")
        self.assertEqual(self.stopper.failures, [])

    def test_failsLater(self) -> None:
        """One that turns out later to be impossible ends the process."""
        self.service.privilegedStartService()
        self.proxy.started.errback(ConfigError("--listen 80: taken"))
        self.assertEqual([str(failure.value) for failure in self.stopper.failures], ["--listen 80: taken"])

    def test_limitNotGranted(self) -> None:
        """A system that does not grant its own hard limit is no reason to stay down."""

        def refuse(kind: int, limits: tuple[int, int]) -> None:
            raise ValueError("current limit exceeds maximum limit")

        self.patch(resource, "setrlimit", refuse)
        self.service.privilegedStartService()
        self.proxy.started.callback(None)
        self.assertEqual(self.stopper.failures, [])


class MakeServiceTests(SynchronousTestCase):
    """What twistd calls."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.addCleanup(reactor.installNameResolver, reactor.nameResolver)  # type: ignore[attr-defined]
        self.patch(sys, "excepthook", sys.excepthook)
        self.patch(atexit, "register", lambda *call: None)
        self.monotonic: list[object] = []
        self.patch(plugin, "useMonotonic", self.monotonic.append)
        self.patch(plugin, "passOverStart", lambda reactor: None)
        self.made: list[tuple[Any, ...]] = []
        self.options = plugin.Options()
        self.options.parseOptions(["--target", "demo:"])

    def makeProxy(self, *arguments: object, **more: object) -> Proxy:
        self.more = more
        self.made.append(arguments)
        return Proxy()

    def test_wiring(self) -> None:
        """The proxy is made of the parsed options, the global reactor and a way to stop it."""
        from twisted.internet import reactor

        self.patch(plugin, "makeRoot", self.makeProxy)
        service = plugin.makeService(self.options)
        [(config, itsReactor, stopper, stdout, setLevel, reader)] = self.made
        self.assertIs(config, self.options.config)
        self.assertIs(itsReactor, reactor)
        self.assertIsInstance(stopper, plugin.Exit)
        self.assertIs(stdout, None)
        setLevel("warn")
        self.assertIs(reader, None)
        self.assertIsInstance(self.more["successor"], Successor)
        self.assertIs(self.more["predecessor"], None)
        self.assertIsInstance(service, plugin.ProcessService)
        self.assertEqual(sys.excepthook, stopper.tellInOneLine)
        self.assertEqual(self.monotonic, [reactor])

    def test_pidfile(self) -> None:
        """Under twistd, the way out knows the pidfile."""
        self.patch(plugin, "makeRoot", self.makeProxy)
        exits: list[object] = []

        class RecordedExit(Exit):
            def __init__(self, reactor: Any, pidfile: str | None, **keywords: Any) -> None:
                super().__init__(reactor, pidfile, **keywords)
                exits.append(pidfile)

        self.patch(plugin, "Exit", RecordedExit)
        self.options.parent = usage.Options()
        for pidfile in ("/run/x.pid", None):
            self.options.parent["pidfile"] = pidfile
            plugin.makeService(self.options)
        self.assertEqual(exits, ["/run/x.pid", None])

    def test_log(self) -> None:
        """Workers may write to stdout where that is twistd's log: in the foreground, unless it was told another."""
        self.patch(plugin, "makeRoot", self.makeProxy)
        foreground = {"nodaemon": 1, "logfile": None, "syslog": 0, "logger": None}
        for different, logsToStdout in (
            ({}, True),
            ({"logfile": "-"}, True),
            ({"logfile": self.mktemp()}, False),
            ({"syslog": 1}, False),
            ({"logger": "some.observer"}, False),
            ({"nodaemon": 0, "logfile": self.mktemp()}, False),
        ):
            self.options.parent = usage.Options()
            self.options.parent.update(foreground | different)
            plugin.makeService(self.options)
            self.assertEqual(self.made[-1][3] is not None, logsToStdout, different)

    def test_impossible(self) -> None:
        """A configuration that cannot work ends the start with one line; words may have a status of their own."""
        for error, wrong, status in (
            (ConfigError("--cert a.pem: not a certificate"), 2, 1),
            (WordsError("--cert a.pem: not a certificate"), 2, 2),
            (WordsError("--cert a.pem: not a certificate"), 1, 1),
        ):

            def refuse(*arguments: object, error: ConfigError = error, **more: object) -> None:
                raise error

            told = StringIO()
            self.options.wrong = wrong
            self.patch(plugin, "makeRoot", refuse)
            self.patch(sys, "stderr", told)
            self.assertEqual(self.assertRaises(SystemExit, plugin.makeService, self.options).code, status)
            self.assertEqual(told.getvalue(), "twistd websockify: --cert a.pem: not a certificate\n")
