"""Through a WebSocket, for programs that know of none: C{wsproxy connect}, and Twisted's endpoint strings."""
