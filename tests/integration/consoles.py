"""A console proxy in OpenStack Nova's manner, written for websockify: run as a program, with its target in argv."""

from __future__ import annotations

import sys
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

import websockify
from websockify import websockifyserver
from websockify.websocketproxy import SSL_OPTIONS

MODE, PLACE = sys.argv[1:]
HOST, PORT = PLACE.rsplit(":", 1)


class ConsoleHandler(websockify.ProxyRequestHandler):
    """Takes its token from the query, a path in it, or a cookie; checks the Origin; says CONNECT to the target."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.lookups = 0

    def _token(self):
        query = parse_qs(urlsplit(self.path).query)
        if "token" in query:
            return query["token"][0]
        cookie = SimpleCookie(self.headers.get("cookie") or "")
        return cookie["token"].value if "token" in cookie else None

    def new_websocket_client(self):
        token = self._token()
        if token != "good":
            raise self.CClose(1008, "Invalid Token")
        origin = self.headers.get("Origin")
        if origin and urlsplit(origin).hostname != "console.example":
            raise self.CClose(1008, "Origin header does not match this host.")
        self.msg("connect info: %s", {"host": HOST, "port": PORT})
        target = self.socket(HOST, int(PORT), connect=True)
        target.send(b"CONNECT console HTTP/1.1\r\n\r\n")
        said = b""
        while not said.endswith(b"\r\n\r\n"):
            said += target.recv(1)
        if not said.startswith(b"HTTP/1.1 200"):
            self.vmsg("it said %s", said)
            raise self.CClose(1011, "Refused by the hypervisor")
        try:
            self.do_proxy(target)
        except Exception:
            target.close()
            raise
        self.msg("the console of %s is over", self.client_address[0])

    def socket(self, *args, **kwargs):
        return websockifyserver.WebSockifyServer.socket(*args, **kwargs)


class LookingHandler(websockify.ProxyRequestHandler):
    """Overrides what is asked before the 101."""

    def get_target(self, target_plugin):
        host, port = super().get_target(target_plugin)
        return host, int(port)

    def auth_connection(self):
        if self.headers.get("X-Password") != "sesame":
            raise websockify.auth_plugins.AuthenticationError(response_code=403, response_msg="No")
        super().auth_connection()


class CountingHandler(websockify.ProxyRequestHandler):
    """Overrides do_proxy alone."""

    def do_proxy(self, target):
        self.msg("begins")
        super().do_proxy(target)
        self.msg("ends")


class Tokens(websockify.token_plugins.BasePlugin):
    def lookup(self, token):
        return (HOST, PORT) if token == "good" else None


class ConsoleProxy(websockify.WebSocketProxy):
    def __init__(self, *args, **kwargs):
        self.security_proxy = kwargs.pop("security_proxy", None)
        super().__init__(*args, **kwargs)

    def started(self):
        self.msg("has started")


common = {"listen_host": "127.0.0.1", "listen_port": 0, "verbose": True, "ssl_options": SSL_OPTIONS["tlsv1_2"]}
if MODE == "console":
    ConsoleProxy(RequestHandlerClass=ConsoleHandler, file_only=True, **common).start_server()
elif MODE == "tokens":
    ConsoleProxy(RequestHandlerClass=LookingHandler, token_plugin=Tokens(None), **common).start_server()
else:
    kind = CountingHandler if MODE == "counting" else websockify.ProxyRequestHandler
    websockify.WebSocketProxy(kind, target_host=HOST, target_port=int(PORT), **common).start_server()
