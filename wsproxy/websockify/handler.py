"""The C{ProxyRequestHandler} that others derive from: a request of theirs, decided about and led by what they override.

::

    request ─► validate_connection ─► auth_connection ─► 101 ─► new_websocket_client ─► do_proxy ─► the tunnel
                  └─► get_target ─► the token plugin                                       └─ returns when it is over

Each method runs in a thread, and may block. What moves bytes is the proxy's own: C{do_proxy} hands it the socket.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable
from http.client import HTTPMessage
from typing import Any, NoReturn, Protocol
from urllib.parse import parse_qs, urlsplit

__all__ = ["Client", "ProxyRequestHandler", "connectTo"]

_CONNECTING = 10.0
"""Seconds, for a target that a handler connects to."""


class Client(Protocol):
    """Whom a handler is about, and what becomes of it."""

    path: str
    headers: HTTPMessage

    def relay(self, target: socket.socket) -> None:
        """Relay between it and this connected socket; return when that is over."""

    def lead(self) -> None:
        """Lead it to where the handler's server says, and relay; return when that is over."""


class ProxyRequestHandler:
    """
    @ivar server: a copy for this client alone of what C{start_server} was called on: whoever sets its C{target_host},
        C{target_port} or C{unix_target} decides about no other.
    @ivar client_address: host, port, and whether it has come over TLS.
    """

    command = "GET"
    request_version = "HTTP/1.1"
    buffer_size = 65536

    class CClose(Exception):
        """Close the WebSocket, with this code and reason."""

    def __init__(self, req: Client, addr: tuple[Any, ...], server: Any) -> None:
        self._client = req
        self.client_address = addr
        self.server = server
        self.path = req.path
        self.headers = req.headers
        self.requestline = f"GET {req.path} HTTP/1.1"
        self.logger: logging.Logger = server.logger
        for name in ("verbose", "daemon", "record", "run_once", "file_only", "traffic", "web_auth", "host_token"):
            setattr(self, name, getattr(server, name, False))

    def admitted(self, client: Client) -> None:
        """From now on it is about this one: the same, with its 101."""
        self._client = client

    # What is overridden

    def validate_connection(self) -> None:
        """
        Find out where this client is to be led.

        @raise Exception: C{self.server.EClose}: nowhere.
        """
        if self.server.token_plugin is None:
            return
        host, port = self.get_target(self.server.token_plugin)
        if host == "unix_socket":
            self.server.unix_target = port
        else:
            self.server.target_host, self.server.target_port, self.server.unix_target = host, port, None

    def get_target(self, target_plugin: Any) -> Any:
        """@return: host and port, as C{target_plugin} has them for this client's token."""
        token = self._token()
        if token is None:
            raise self.server.EClose("Token not present")
        found = target_plugin.lookup(token)
        if found is None:
            raise self.server.EClose("Token not found")
        return found

    def _token(self) -> str | None:
        if self.server.host_token:
            return (self.headers.get("Host") or "").partition(":")[0] or None
        values = parse_qs(urlsplit(self.path).query).get("token")
        return values[0].rstrip("\n") if values else None

    def auth_connection(self) -> None:
        """Refuse whoever may not come in, by an C{AuthenticationError}."""
        if self.server.auth_plugin is not None:
            server = self.server
            server.auth_plugin.authenticate(
                headers=self.headers, target_host=server.target_host, target_port=server.target_port
            )

    def new_websocket_client(self) -> None:
        """Lead the client, who has its 101, to the target; return when that is over."""
        if self._overrides("do_proxy"):
            self.do_proxy(connectTo(self.server))
        else:
            self._client.lead()

    def do_proxy(self, target: socket.socket) -> None:
        """
        Relay between the client and this connected socket; return when either has ended.

        @raise NotImplementedError: it is one of TLS.
        """
        if isinstance(target, ssl.SSLSocket):
            raise NotImplementedError("a socket with Python's TLS on it cannot be handed over; use ssl_target")
        self._client.relay(target)

    def _overrides(self, *names: str) -> bool:
        return any(getattr(type(self), name) is not getattr(ProxyRequestHandler, name) for name in names)

    @property
    def leadsItself(self) -> bool:
        """Whether anything of the way to the target is its own."""
        return self._overrides("new_websocket_client", "do_proxy")

    # What is called

    def msg(self, msg: str, *args: Any, **kwargs: Any) -> None:
        self.logger.info(msg, *args, **kwargs)

    def vmsg(self, msg: str, *args: Any, **kwargs: Any) -> None:
        self.logger.debug(msg, *args, **kwargs)

    def warn(self, msg: str, *args: Any, **kwargs: Any) -> None:
        self.logger.warning(msg, *args, **kwargs)

    def log_message(self, format: str, *args: Any) -> None:
        self.logger.info(f"%s - - {format}", self.client_address[0], *args)

    log_error = log_message

    def print_traffic(self, token: str = ".") -> None:
        """C{traffic} is the proxy's."""

    def _absent(self, *arguments: Any) -> NoReturn:
        raise NotImplementedError("the frames of a client are the proxy's; see docs/from-websockify.rst")

    recv_frames: Callable[..., Any] = _absent
    send_frames: Callable[..., Any] = _absent
    send_close: Callable[..., Any] = _absent
    send_ping: Callable[..., Any] = _absent
    send_pong: Callable[..., Any] = _absent


def connectTo(server: Any) -> socket.socket:
    """@return: a socket that is connected to where this says."""
    if server.ssl_target:
        raise NotImplementedError("ssl_target and a do_proxy of one's own: its socket would have Python's TLS on it")
    if server.unix_target:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_CONNECTING)
        connection.connect(server.unix_target)
    else:
        connection = socket.create_connection((server.target_host, int(server.target_port)), _CONNECTING)
    connection.settimeout(None)
    return connection
