"""wsproxy: one TCP port that speaks WebSocket, HTTP and TLS in front of any TCP or unix-socket server."""

__all__ = ["__version__"]

__version__ = "1.0.0.dev0"
