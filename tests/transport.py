"""A transport in memory, nearer to a TCP connection than Twisted's own."""

from wsproxy.testing import MemoryTransport as FakeTransport

__all__ = ["FakeTransport"]
