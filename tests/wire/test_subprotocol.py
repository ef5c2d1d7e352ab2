"""Which subprotocol is agreed on, and its wire."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.wire.subprotocol import choose, wireOf
from wsproxy.wire.wire import Base64Wire, BinaryWire, RawWire


class SubprotocolTests(SynchronousTestCase):
    def test_choose(self) -> None:
        """C{binary} where it is offered, else C{base64}, else the first that is accepted, else none."""
        for offered, chosen in (
            (("base64", "binary"), "binary"),
            (("mqtt", "base64"), "base64"),
            (("amqp", "mqtt"), "mqtt"),
            (("chat",), None),
            ((), None),
        ):
            self.assertEqual(choose(offered, ("mqtt", "amqp")), chosen)

    def test_wire(self) -> None:
        """base64 has a wire of its own; all others are bytes in binary messages, and plain clients have none."""
        self.assertIsInstance(wireOf("base64", text=False, raw=False), Base64Wire)
        for subprotocol in ("binary", "mqtt", None):
            self.assertIsInstance(wireOf(subprotocol, text=False, raw=False), BinaryWire)
        self.assertIsInstance(wireOf(None, text=False, raw=True), RawWire)
