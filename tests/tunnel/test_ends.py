"""Every kind of end keeps the contract."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from tests.tunnel.contract import EndContract
from wsproxy.tunnel.end import End
from wsproxy.tunnel.pump import Pump, SocketEnd
from wsproxy.tunnel.transport import TransportEnd


class OverUNIX:
    """The connection is a unix socket."""

    async def listen(self: Any, reactor: Any, factory: Factory[Any]) -> str:
        path = self.mktemp()
        port = await UNIXServerEndpoint(reactor, path).listen(factory)
        self.addCleanup(port.stopListening)
        return f"unix:{path}"


class Pumped:
    """The end's socket is pumped."""

    def adopt(self: Any, end: TransportEnd) -> End:
        from twisted.internet import reactor

        adopted = Pump(reactor).adopt(end)
        self.assertIsInstance(adopted, SocketEnd)
        return adopted


class TransportOverTCPTests(EndContract, TestCase):
    """A transport's end over TCP."""


class TransportOverUNIXTests(OverUNIX, EndContract, TestCase):
    """A transport's end over a unix socket."""


class PumpOverTCPTests(Pumped, EndContract, TestCase):
    """A pumped TCP socket."""


class PumpOverUNIXTests(Pumped, OverUNIX, EndContract, TestCase):
    """A pumped unix socket."""
