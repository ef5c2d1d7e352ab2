"""Files and pages: what a browser gets before it opens a WebSocket."""
