"""What C{TokenRedis} is told, as the original understands it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.errors import ConfigError
from wsproxy.tokens.redis import parseSource


class SourceTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """Parts that are left out or empty are the defaults; a part in double quotes may have colons."""
        for source, expected in (
            ("redis.example", ("redis.example", 6379, 0, None, "")),
            ("h:6380", ("h", 6380, 0, None, "")),
            ("h::", ("h", 6379, 0, None, "")),
            ("h::2", ("h", 6379, 2, None, "")),
            ("h:::geheim", ("h", 6379, 0, "geheim", "")),
            ("h::::ns", ("h", 6379, 0, None, "ns")),
            ("h:6380:1:geheim:ns", ("h", 6380, 1, "geheim", "ns")),
            ('h::::"first:second"', ("h", 6379, 0, None, "first:second")),
            ('h:::"p:w":ns', ("h", 6379, 0, "p:w", "ns")),
            ('h:::p"w:ns', ("h", 6379, 0, 'p"w', "ns")),
            ('h:::""pw":ns', ("h", 6379, 0, '"pw', "ns")),
            ('h:::"":ns', ("h", 6379, 0, None, "ns")),
            ('"::1":6380', ("::1", 6380, 0, None, "")),
            ("[::1]:6380", ("::1", 6380, 0, None, "")),
        ):
            address, namespace = parseSource(source)
            found = (address.host, address.port, address.db, address.password, namespace)
            self.assertEqual(found, expected, source)

    def test_unbalanced(self) -> None:
        """A quote that is not closed is one that was forgotten, and no part of a password; which is not told."""
        for source in ('h:::"pw', 'h:6379:0:"geheim:ns', '"h', 'h:::"geheim"x'):
            error = self.assertRaises(ConfigError, parseSource, source)
            self.assertIn("a double quote is not closed", str(error))
            self.assertNotIn("geheim", str(error))

    def test_wrong(self) -> None:
        """What is not that is told without a word of it."""
        for source in ("", ":6379", "h:geheim", "h:1:geheim", "h:0", "h:70000", "h:-1", "h:²", "h:1:2:geheim:n:x"):
            error = self.assertRaises(ConfigError, parseSource, source)
            self.assertEqual(str(error), "--token-source: not HOST[:PORT[:DB[:PASSWORD[:NAMESPACE]]]]")
