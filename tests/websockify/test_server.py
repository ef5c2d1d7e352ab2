"""C{WebSocketProxy(**options)}: what becomes of the options, and of a handler that does not behave."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wsproxy.errors import ConfigError, DialError
from wsproxy.interfaces import IAuthenticator, IDialer, IObserver, IResolver, Request, Target
from wsproxy.websockify.handler import ProxyRequestHandler
from wsproxy.websockify.server import SSL_OPTIONS, WebSocketProxy, WebSockifyServer, select_ssl_version
from wsproxy.websockify.steering import Steering


class OptionTests(SynchronousTestCase):
    def told(self, **options: Any) -> Any:
        return WebSocketProxy(**{"listen_port": 6080, **options})._translated()

    def test_places(self) -> None:
        """Where to listen, and where to go if not the handlers say so."""
        config = self.told(listen_host="127.0.0.1", target_host="h", target_port=5900).config
        self.assertEqual((config.listening.listen, config.target.endpoint), (("127.0.0.1:6080",), "h:5900"))
        self.assertIsNone(self.told().config.target.endpoint)
        self.assertEqual(self.told(unix_target="/s").config.target.endpoint, "unix:/s")
        listening = self.told(unix_listen="/l", unix_listen_mode=0o640, target_host="h", target_port=1).config.listening
        self.assertEqual(listening.listen, ("unix:/l:mode=640",))
        self.assertTrue(self.told(listen_fd=0).config.listening.inetd)
        self.assertRaises(ConfigError, self.told, listen_fd=5)

    def test_program(self) -> None:
        """A command may be wrapped."""
        program = self.told(wrap_cmd=["prog", "-v"], wrap_mode="respawn").config.program
        self.assertEqual((program.words, program.mode), (("prog", "-v"), "respawn"))

    def test_values(self) -> None:
        """Numbers and flags; what is empty or None is not given, but for a heartbeat of 0."""
        config = self.told(timeout=5, verbose=True, run_once=False, web="", heartbeat=0).config
        self.assertEqual((config.lifetime.timeout, config.lifetime.runOnce, config.sessions.heartbeat), (5, False, 0))
        self.assertEqual((config.logging.verbose, config.web.directory), (True, None))
        self.assertEqual(self.told().config.sessions.heartbeat, 25)

    def test_unknown(self) -> None:
        """What was no option there is none here; each option is an attribute."""
        self.assertRaises(TypeError, WebSocketProxy, bogus=1)
        self.assertEqual(WebSocketProxy(target_host="h", tcp_keepalive=False).target_host, "h")

    def test_versions(self) -> None:
        """The words of TLS versions; one that nobody knows is the newest."""
        self.assertEqual(select_ssl_version("tlsv1_2"), SSL_OPTIONS["tlsv1_2"])
        self.assertEqual(select_ssl_version("tlsv9"), "tlsv1_3")

    def test_socket(self) -> None:
        """It connects; listening, and Python's TLS, are not to be had."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            host, port = listener.getsockname()
            with WebSockifyServer.socket(host, port, connect=True) as connection:
                self.assertEqual(connection.getpeername(), (host, port))
        self.assertRaises(NotImplementedError, WebSockifyServer.socket, host, port)
        self.assertRaises(NotImplementedError, WebSockifyServer.socket, host, port, connect=True, use_ssl=True)


class Here:
    """A reactor whose C{callFromThread} is heard by whoever calls L{turn}."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.called = threading.Event()
        self.clock = Clock()
        self.seconds = self.clock.seconds

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        self.calls.append((call, arguments))
        self.called.set()

    def turn(self) -> None:
        if not self.called.wait(10):
            raise AssertionError("nobody has called")
        self.called.clear()
        while self.calls:
            call, arguments = self.calls.pop(0)
            call(*arguments)


class FakeSession:
    id = "0" * 32

    def __init__(self, handler: ProxyRequestHandler) -> None:
        self.target = Target("h:1", claims={"handler": handler})
        self.closes: list[Any] = []
        self.close = self.closes.append


class VisitTests(SynchronousTestCase):
    def dial(self, behaviour: Any) -> tuple[Deferred[Any], FakeSession, Here]:
        class Handler(ProxyRequestHandler):
            new_websocket_client = behaviour

        reactor: Any = Here()
        dialer: Any = object()
        self.steering = Steering(Handler, WebSocketProxy(), reactor, dialer)
        here = IPv4Address("TCP", "127.0.0.1", 1)
        handler = self.steering._makeHandler(Request("/a", {"host": "x"}, here, here, False, rawQuery="b=1"))
        self.assertEqual((handler.path, handler.headers["Host"]), ("/a?b=1", "x"))
        session: Any = FakeSession(handler)
        factory: Any = None
        return self.steering.dial(session, factory), session, reactor

    def test_interfaces(self) -> None:
        """It is all that is asked about a client."""
        self.dial(lambda handler: None)
        for interface in (IResolver, IAuthenticator, IDialer, IObserver):
            verifyObject(interface, self.steering)

    def test_returns(self) -> None:
        """A handler that comes back without a target has closed."""
        dialled, _, reactor = self.dial(lambda handler: None)
        reactor.turn()
        self.failureResultOf(dialled, DialError)

    def test_raises(self) -> None:
        """What it raises is the session's to tell, and to log."""

        def behave(handler: Any) -> None:
            raise KeyError("x")

        dialled, _, reactor = self.dial(behave)
        reactor.turn()
        self.failureResultOf(dialled, KeyError)

    def test_closes(self) -> None:
        """C{CClose} is code and reason, or neither."""
        for arguments, expected in (((4001, "no"), (4001, "no")), ((), (1000, "")), ((1008,), (1008, ""))):

            def behave(handler: Any, arguments: Any = arguments) -> None:
                raise handler.CClose(*arguments)

            dialled, session, reactor = self.dial(behave)
            while not dialled.called:
                reactor.turn()
            self.failureResultOf(dialled, DialError)
            self.assertEqual([(int(close.code), close.reason) for close in session.closes], [expected])

    def test_noCode(self) -> None:
        """A code that is none is a mistake of the handler's, and ends the visit all the same."""

        def behave(handler: Any) -> None:
            raise handler.CClose("bye")

        dialled, session, reactor = self.dial(behave)
        reactor.turn()
        self.failureResultOf(dialled, ValueError)
        self.assertEqual(session.closes, [])

    def test_tls(self) -> None:
        """A socket with Python's TLS on it is refused, in words."""

        def behave(handler: Any) -> None:
            handler.do_proxy(ssl.SSLSocket.__new__(ssl.SSLSocket))

        dialled, _, reactor = self.dial(behave)
        reactor.turn()
        self.assertIn("ssl_target", str(self.failureResultOf(dialled, NotImplementedError).value))

    def test_frames(self) -> None:
        """So is whoever wants the client's frames."""
        dialled, _, reactor = self.dial(lambda handler: handler.recv_frames())
        reactor.turn()
        self.failureResultOf(dialled, NotImplementedError)

    def test_cancelled(self) -> None:
        """Nobody waits for one that does not come back; what comes later is let go."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        going, gone = threading.Event(), threading.Event()

        def behave(handler: Any) -> None:
            going.wait(10)
            handler.do_proxy(ours)
            gone.set()

        dialled, _, reactor = self.dial(behave)
        dialled.cancel()
        self.failureResultOf(dialled)
        going.set()
        self.assertTrue(gone.wait(10))
        reactor.turn()
