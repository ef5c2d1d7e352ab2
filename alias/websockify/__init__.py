"""What programs import as C{websockify}: the classes of that name, on wsproxy. docs/from-websockify.rst has what is not
there, and why."""

from wsproxy.websockify.handler import ProxyRequestHandler as ProxyRequestHandler
from wsproxy.websockify.server import SSL_OPTIONS as SSL_OPTIONS
from wsproxy.websockify.server import WebSocketProxy as WebSocketProxy
from wsproxy.websockify.server import WebSockifyServer as WebSockifyServer
from wsproxy.websockify.server import select_ssl_version as select_ssl_version

from . import auth_plugins as auth_plugins
from . import token_plugins as token_plugins
from . import websocketproxy as websocketproxy
from . import websockifyserver as websockifyserver
