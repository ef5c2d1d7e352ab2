"""For the tests of plugins and embedders: what they are given, and clients and targets without a network.

::

    resolver.resolve(makeRequest("/console/red?token=x", cookie="theme=dark"), None)
    dialer.dial(makeSession("console:5901"), factory)

    client = MemoryClient(factory, "/console/red?token=x", origin="https://example.com")
    client.status, client.messages, client.closed
"""

from __future__ import annotations

from wsproxy.testing.client import MemoryClient
from wsproxy.testing.nouns import makeRequest, makeSession
from wsproxy.testing.transport import MemoryTransport

__all__ = ["MemoryClient", "MemoryTransport", "makeRequest", "makeSession"]
