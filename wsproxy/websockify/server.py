"""C{WebSocketProxy(**options).start_server()}: websockify as a library, for programs that derive from its classes."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from optparse import Values
from typing import Any

from twisted.logger import Logger

from wsproxy.command.plugin import makeService
from wsproxy.command.root import makeRoot
from wsproxy.errors import ConfigError
from wsproxy.escape import escape
from wsproxy.interfaces import IDialer
from wsproxy.websockify.command import start
from wsproxy.websockify.handler import ProxyRequestHandler, connectTo
from wsproxy.websockify.options import TLS_VERSIONS, Given
from wsproxy.websockify.steering import Steering
from wsproxy.websockify.translation import Translation, translate

__all__ = ["SSL_OPTIONS", "WebSocketProxy", "WebSockifyServer", "select_ssl_version"]

SSL_OPTIONS = {word: word for word in TLS_VERSIONS}
"""What C{ssl_options} takes, by the words of C{--ssl-version}."""

_WORDS = (
    *("verbose", "cert", "key", "key_password", "ssl_only", "verify_client", "cafile", "daemon", "record", "web"),
    *("file_only", "run_once", "timeout", "idle_timeout", "traffic", "ssl_ciphers", "unix_listen", "unix_target"),
    *("ssl_target", "wrap_mode"),
)
"""Options by the names of the command line."""

_OTHERS = {
    "listen_host": "",
    "listen_port": None,
    "listen_fd": None,
    "source_is_ipv6": False,
    "unix_listen_mode": None,
    "ssl_options": None,
    "target_host": None,
    "target_port": None,
    "wrap_cmd": None,
    "heartbeat": None,
    "token_plugin": None,
    "host_token": False,
    "auth_plugin": None,
    "web_auth": False,
    "tcp_keepalive": True,
    "tcp_keepcnt": None,
    "tcp_keepidle": None,
    "tcp_keepintvl": None,
}


def select_ssl_version(version: str) -> str:
    """@return: what C{ssl_options} takes."""
    return SSL_OPTIONS.get(version, "tlsv1_3")


class _ToLog(logging.Handler):
    """What handlers log goes where the proxy logs, as it is."""

    _log = Logger()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._log.info("{original}", original=escape(record.getMessage(), None))
        except Exception:
            self.handleError(record)


class WebSockifyServer:
    """What it has that is called without a server."""

    log_prefix = "websocket"

    class EClose(Exception):
        """This client is not to have a WebSocket."""

    class Terminate(Exception):
        """Never raised."""

    @staticmethod
    def get_logger() -> logging.Logger:
        return logging.getLogger("websocket")

    @staticmethod
    def socket(
        host: str | None,
        port: int | None = None,
        connect: bool = False,
        prefer_ipv6: bool = False,
        unix_socket: str | None = None,
        use_ssl: bool = False,
        **others: Any,
    ) -> Any:
        """
        @return: a socket that is connected.
        @raise NotImplementedError: it is to listen.
        """
        if not connect:
            raise NotImplementedError("listening is the proxy's")
        return connectTo(
            Values({"ssl_target": use_ssl, "unix_target": unix_socket, "target_host": host, "target_port": port})
        )


class WebSocketProxy(WebSockifyServer):
    """
    @param RequestHandlerClass: each client gets one of these.
    @param options: as there: of what the command line takes, with C{_} for C{-}, and L{_OTHERS}. Each is an attribute.
    """

    def __init__(
        self, RequestHandlerClass: type[ProxyRequestHandler] = ProxyRequestHandler, **options: Any
    ) -> None:
        known = {**dict.fromkeys(_WORDS), **_OTHERS}
        for name in options:
            if name not in known:
                raise TypeError(f"WebSocketProxy() got an unexpected keyword argument '{name}'")
        self.RequestHandlerClass = RequestHandlerClass
        self.__dict__.update({**known, **options})
        self.logger = self.get_logger()

    def start_server(self) -> None:
        """
        Serve, until a signal or one of the options ends it. In the main thread, and once: the reactor starts but once.

        @raise SystemExit: with 2 for options that are wrong, with 1 where it cannot start.
        """
        self.logger.addHandler(_ToLog())
        self.logger.setLevel(logging.DEBUG if vars(self)["verbose"] else logging.INFO)
        self.logger.propagate = False
        start(self._translated, self._make)

    def started(self) -> None:
        """It is about to serve."""

    def msg(self, *args: Any, **kwargs: Any) -> None:
        self.logger.info(*args, **kwargs)

    def vmsg(self, *args: Any, **kwargs: Any) -> None:
        self.logger.debug(*args, **kwargs)

    def warn(self, *args: Any, **kwargs: Any) -> None:
        self.logger.warning(*args, **kwargs)

    def _translated(self) -> Translation:
        given = vars(self)
        if given["listen_fd"] not in (None, 0):
            raise ConfigError(f"listen_fd {given['listen_fd']}: expected 0, stdin")
        options = {name: value if value is True else str(value) for name in _WORDS if (value := given[name])}
        for name, value in (
            ("heartbeat", given["heartbeat"]),
            ("ssl_version", given["ssl_options"]),
            ("unix_listen_mode", given["unix_listen_mode"] and f"{given['unix_listen_mode']:o}"),
        ):
            if value is not None:
                options[name] = str(value)
        if given["listen_fd"] == 0:
            options["inetd"] = True
        told = translate(Given(Values(options), self._places(options), self._program))
        if self._program is None and not given["unix_target"] and given["target_port"] is None:
            told.config = replace(told.config, target=replace(told.config.target, endpoint=None))
        return told

    def _places(self, options: dict[str, Any]) -> list[str]:
        given = vars(self)
        listen = [] if "unix_listen" in options or "inetd" in options else [f"{self._host}:{given['listen_port']}"]
        if self._program is not None or "unix_target" in options:
            return listen
        host, port = given["target_host"] or "localhost", given["target_port"]
        return [*listen, f"{host}:{port if port is not None else 1}"]

    @property
    def _host(self) -> str:
        return str(vars(self)["listen_host"] or "")

    @property
    def _program(self) -> tuple[str, ...] | None:
        words = vars(self)["wrap_cmd"]
        return None if words is None else tuple(words)

    def _make(self, openLog: Any, options: Any) -> Any:
        def steer(reactor: Any, dialer: IDialer) -> Steering:
            reactor.callWhenRunning(self.started)
            return Steering(self.RequestHandlerClass, self, reactor, dialer)

        return makeService(options, openLog, partial(makeRoot, steer=steer))
