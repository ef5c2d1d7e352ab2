"""What tokens stand for."""

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.errors import ConfigError
from wsproxy.interfaces import Target
from wsproxy.tokens.targets import asTarget, fromPair


class TextTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Each form of a target is understood as C{--target} understands it."""
        for text, expected in (
            ("db.example:5900", "db.example:5900"),
            (" 192.0.2.1:5900\n", "192.0.2.1:5900"),
            ("[2001:db8::1]:5900", "[2001:db8::1]:5900"),
            ("tls:db.example:443", "tls:db.example:443"),
            ("tls:[::1]:443", "tls:[::1]:443"),
            ("unix_socket:/run/x.sock", "unix:/run/x.sock"),
            ("unix:/run/a b:c", "unix:/run/a b:c"),
            ("tcp:host=db.example:port=5900:timeout=3", "tcp:host=db.example:port=5900:timeout=3"),
            ("demo:", "demo:"),
        ):
            self.assertEqual(asTarget(text), Target(expected))

    def test_proxyHeader(self) -> None:
        """Behind a target may stand that it wants a header of the PROXY protocol, and of which version."""
        self.assertEqual(asTarget("db:1 proxy=v1"), Target("db:1", proxyHeader="v1"))
        self.assertEqual(asTarget("unix:/run/a b\tproxy=v2 "), Target("unix:/run/a b", proxyHeader="v2"))
        for text in ("db:1 proxy=", "db:1 proxy=v3", "db:1 proxy=v1 proxy=v2", "db:1 proxie=v1", "proxy=v1"):
            self.assertRaises(ConfigError, asTarget, text)

    def test_sockets(self) -> None:
        """Whose words they are goes along with them: who dials knows who may name a socket."""
        self.assertFalse(asTarget("unix:/run/x.sock").sockets)
        self.assertTrue(asTarget("unix:/run/x.sock", True).sockets)
        self.assertRaises(ConfigError, asTarget, "unix:x.sock", True)
        self.assertRaises(ConfigError, asTarget, "unix_socket:../x.sock", True)

    def test_endpoints(self) -> None:
        """Of endpoint strings, whoever is not a file of ours says what names neither files nor other endpoints."""
        nested = r"autobahn:unix\:/run/x.sock:url=ws\://localhost"
        files = "ssl:db.example:443:privateKey=/etc/key.pem", "ssl:host=db:port=443:CaCertsDir=/etc"
        asTarget("ssl:db.example:443")
        for text in (nested, *files):
            self.assertRaises(ConfigError, asTarget, text)
            self.assertEqual(asTarget(text, True).text, text)

    def test_nonsense(self) -> None:
        """What is no target is named in one line, which names no option that nobody gave."""
        for text in ("", "db", "db:0", "db:65536", "a b:1", "db:1\n:2", "unix:/x\0y", "unix:/x\ny", ":1", "unix:"):
            error = self.assertRaises(ConfigError, asTarget, text, True)
            self.assertNotIn("\n", str(error))
            self.assertNotIn("--target", str(error))


class PairTests(SynchronousTestCase):
    def test_pairs(self) -> None:
        """What the original's classes answer is the same, whatever the port is made of."""
        for pair, expected in (
            (("db", "5900"), "db:5900"),
            (["db", 5900], "db:5900"),
            (("db", b"5900"), "db:5900"),
            (("::1", "5900"), "[::1]:5900"),
            (("[::1]", 5900), "[::1]:5900"),
            (("tls:[::1]", " 5900\n"), "tls:[::1]:5900"),
            (["unix_socket", "/run/x.sock"], "unix:/run/x.sock"),
        ):
            self.assertEqual(fromPair(pair), Target(expected))

    def test_nonsense(self) -> None:
        """Nothing else is taken for a pair."""
        for pair in ((), ("db",), ("db", 1, 2), ("db", True), ("db", None), (None, 1), ("db", 1.5), ("db", "x")):
            self.assertRaises(ConfigError, fromPair, pair)
