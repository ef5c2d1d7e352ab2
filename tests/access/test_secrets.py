"""What the log may say of a secret."""

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.access.secrets import shown


class ShownTests(SynchronousTestCase):
    def test_shown(self) -> None:
        """Eight hexadecimal digits, the same for the same secret, and none of it."""
        self.assertRegex(shown("cafe"), "^[0-9a-f]{8}$")
        self.assertEqual(shown("cafe"), shown("cafe"))
        self.assertNotEqual(shown("cafe"), shown("cafes"))

    def test_anything(self) -> None:
        """Whatever a client sends can be shown, half a surrogate pair too."""
        self.assertRegex(shown("\ud800\0" * 100_000), "^[0-9a-f]{8}$")
