"""Names and passwords out of headers."""

from __future__ import annotations

from base64 import b64encode

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.plugins.credentials import Malformed, basicCredentials, same


def header(text: str, encoding: str = "utf-8") -> str:
    return f"Basic {b64encode(text.encode(encoding)).decode()}"


class CredentialsTests(SynchronousTestCase):
    def test_read(self) -> None:
        """Name and password are read as RFC 7617 has them: the scheme in any case, the first colon parts them."""
        self.assertEqual(basicCredentials("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), ("Aladdin", "open sesame"))
        self.assertEqual(basicCredentials(header("a:b:c").replace("Basic", "bAsIc ")), ("a", "b:c"))
        self.assertEqual(basicCredentials(header("übel:täter")), ("übel", "täter"))
        self.assertEqual(basicCredentials(header("übel:täter", "latin-1")), ("übel", "täter"))
        self.assertEqual(basicCredentials(header(":")), ("", ""))

    def test_malformed(self) -> None:
        """What is no such thing is told from what is wrong, and not quoted."""
        for text in (
            "", "Basic", "Basic ", "Bearer abc", "Basic !!!", "Basic QQ", "Basic QWxh=ZGRpbg==", header("nocolon"),
            header("a\0:b"), header("a:b\n"), header("a:b") + ", " + header("c:d"), "Basic QWxhZGRp\u00e4", "Basic =",
            "x" * 60000, "Basic " + "=" * 60000,
        ):  # fmt: skip
            with self.assertRaises(Malformed) as raised:
                basicCredentials(text)
            self.assertLess(len(str(raised.exception)), 100)

    def test_same(self) -> None:
        """Secrets are the same or not, of any length and any characters."""
        for one, other in (("a", "a"), ("", ""), ("é\udc80", "é\udc80")):
            self.assertTrue(same(one, other))
        for one, other in (("a", "b"), ("a", ""), ("a", "aa")):
            self.assertFalse(same(one, other))
