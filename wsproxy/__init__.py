"""wsproxy: one TCP port that speaks WebSocket, HTTP and TLS in front of any TCP or unix-socket server.

What others import is C{wsproxy} itself, L{wsproxy.interfaces}, L{wsproxy.errors} and L{wsproxy.testing}; everything
else may move.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsproxy.factory import WebSockifyFactory as WebSockifyFactory
    from wsproxy.resource import WebSockifyResource as WebSockifyResource
    from wsproxy.service.embedded import WebSockifyService as WebSockifyService

__all__ = ["WebSockifyFactory", "WebSockifyResource", "WebSockifyService", "__version__"]

__version__ = "1.0.0.dev0"

_HOMES = {
    "WebSockifyFactory": "wsproxy.factory",
    "WebSockifyResource": "wsproxy.resource",
    "WebSockifyService": "wsproxy.service.embedded",
}


def __dir__() -> list[str]:
    """With those of them, for C{help()}."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """What embedders are given, when it is first asked for (PEP 562): its import is that of Twisted and Autobahn."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
