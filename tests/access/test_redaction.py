"""What is left out of others' texts."""

from __future__ import annotations

from base64 import b64encode

from twisted.internet.address import IPv4Address
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.access.redaction import discreet, secretsOf, withoutSecrets
from wsproxy.interfaces import Request

HERE = IPv4Address("TCP", "127.0.0.1", 6080)


class RedactionTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A secret is left out as it is, as Python quotes it, and as it stands in an URL."""
        secret = "a'b/c\n\"d?"
        for text in (secret, repr(secret), "http://x/a%27b%2Fc%0A%22d%3F/y", "http://x/a%27b/c%0A%22d%3F"):
            told = withoutSecrets(text, secret)
            self.assertIn("(hidden)", told)
            self.assertNotIn("d%3F", told)
            self.assertNotIn("d?", told)

    def test_others(self) -> None:
        """The rest stays; nothing, and what is too short to be a secret, is left out nowhere."""
        self.assertEqual(withoutSecrets("no token 12", "", None, "12", "1"), "no token 12")
        self.assertEqual(withoutSecrets("abcdef abc", "abc", "abcdef"), "(hidden) (hidden)")

    def test_request(self) -> None:
        """Secrets of a request are credentials, and whatever may be a token."""
        request = Request(
            path="/vnc/path%20token",
            headers={
                "authorization": f"Basic {b64encode(b'alice:hunter2').decode()}",
                "cookie": "seat=cookie-token",
                "x-token": "header-token",
                "user-agent": "Mozilla",
            },
            peer=HERE,
            host=HERE,
            secure=False,
            queryAll={"token": ("first-token", "second-token")},
        )
        text = (
            "hunter2 path token cookie-token header-token first-token second-token "
            f"{request.headers['authorization']} path%20token"
        )
        self.assertEqual(set(withoutSecrets(text, *secretsOf(request)).split()), {"(hidden)"})
        self.assertEqual(withoutSecrets("Mozilla alice vnc", *secretsOf(request)), "Mozilla alice (hidden)")

    def test_failure(self) -> None:
        """A failure tells the same without: its kind, and where it was raised; one that holds none is left as it is."""
        try:
            {}["sesame"]
        except KeyError:
            failure = Failure()
        told = discreet(failure, "sesame")
        self.assertIn("KeyError: '(hidden)'", told.getTraceback())
        self.assertIn("test_redaction.py", told.getTraceback())
        self.assertIn("sesame", str(failure.value))
        self.assertIs(discreet(failure, "other"), failure)
