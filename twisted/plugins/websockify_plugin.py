"""``twistd websockify``: names the service maker by module, so that listing plugins imports none of it."""

from twisted.application.service import ServiceMaker

websockify = ServiceMaker(
    "wsproxy",
    "wsproxy.command.plugin",
    "A WebSocket-to-TCP proxy: WebSocket, HTTP and TLS on one port, in front of any TCP server.",
    "websockify",
)
