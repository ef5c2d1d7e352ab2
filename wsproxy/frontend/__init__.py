"""From the accepted connection to the upgraded request: switch, TLS, Flash policy, HTTP, files, WebSocket."""
