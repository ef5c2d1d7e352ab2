"""Endpoint strings that make no sense: told at once, in their own words."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.errors import ConfigError
from wsproxy.passage.server import WebSocketServerEndpoint


class _Full:
    def listen(self, factory: Any) -> Any:
        raise CannotListenError("", 1, OSError("in use"))


class StringTests(SynchronousTestCase):
    def told(self, fromString: Any, text: str) -> str:
        return str(self.assertRaises(ConfigError, fromString, MemoryReactorClock(), text))

    def test_server(self) -> None:
        """Whatever a factory would refuse is refused when the string is read, by the name that it has there."""
        for text, why in (
            ("origin=foo", "origin=foo: expected SCHEME"),
            ("trustedProxy=x", "trustedProxy=x: expected an address"),
            ("allow=x", "allow=x: expected an address"),
            ("cert=/nowhere", "cert=/nowhere: No such file"),
            ("htpasswd=/nowhere", "htpasswd=/nowhere: No such file"),
            ("heartbeat=soon", "heartbeat= is a number of seconds"),
            ("nonsense=1", "has no nonsense="),
        ):
            told = self.told(serverFromString, rf"websocket:tcp\:0:{text}")
            self.assertTrue(told.startswith(f"websocket: {why}"), told)

    def test_colons(self) -> None:
        """A colon that is not escaped is asked about, on either side."""
        for fromString, text in (
            (serverFromString, "websocket:tcp:0"),
            (clientFromString, "ws:url=ws://h:1/x"),
            (clientFromString, "ws:url=ws://h/x"),
            (clientFromString, "wss:url=wss://h:1/x:cafile=x"),
        ):
            self.assertIn("Is a colon not escaped?", self.told(fromString, text))

    def test_listen(self) -> None:
        """What goes wrong when it is listened with is a Deferred that has failed, be it ours or what is inside."""
        for inner, options, error in ((_Full(), {}, CannotListenError), (_Full(), {"origins": ("foo",)}, ConfigError)):
            endpoint: Any = WebSocketServerEndpoint(MemoryReactorClock(), inner, **options)
            self.failureResultOf(endpoint.listen(Factory()), error)
