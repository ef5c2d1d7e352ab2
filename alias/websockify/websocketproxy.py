from wsproxy.websockify.command import main as websockify_init
from wsproxy.websockify.handler import ProxyRequestHandler
from wsproxy.websockify.server import SSL_OPTIONS, WebSocketProxy, select_ssl_version

__all__ = ["SSL_OPTIONS", "ProxyRequestHandler", "WebSocketProxy", "select_ssl_version", "websockify_init"]
