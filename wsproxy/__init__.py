"""wsproxy: one TCP port that speaks WebSocket, HTTP and TLS in front of any TCP or unix-socket server.

What others import is C{wsproxy} itself, L{wsproxy.interfaces}, L{wsproxy.errors} and L{wsproxy.testing}; everything
else may move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsproxy.factory import WebSockifyFactory as WebSockifyFactory

__all__ = ["WebSockifyFactory", "__version__"]

__version__ = "1.0.0.dev0"


def __getattr__(name: str) -> Any:
    """The factory when it is first asked for (PEP 562): its import is that of Twisted and Autobahn."""
    if name == "WebSockifyFactory":
        from wsproxy.factory import WebSockifyFactory

        return WebSockifyFactory
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
