from wsproxy.websockify.handler import ProxyRequestHandler as WebSockifyRequestHandler
from wsproxy.websockify.server import WebSockifyServer

__all__ = ["WebSockifyRequestHandler", "WebSockifyServer"]
