"""A WebSocket as a transport: from a connection that somebody has made, for any protocol."""
