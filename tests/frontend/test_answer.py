"""What is answered without any resource."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.frontend.connection import responses
from wsproxy.errors import Refusal
from wsproxy.frontend.answer import refusalBytes


class RefusalTests(SynchronousTestCase):
    def test_refusalBytes(self) -> None:
        """A refusal brings its own headers, and a status that nobody has heard of."""
        (response,) = responses(refusalBytes(Refusal(401, "Who are you?", (("WWW-Authenticate", "Basic"),))))
        self.assertEqual((response.status, response.body), (401, b"401 Who are you?\n"))
        self.assertEqual(response.headers["www-authenticate"], "Basic")
        (response,) = responses(refusalBytes(Refusal(499, "Gone")))
        self.assertEqual((response.status, response.body), (499, b"499 Gone\n"))

    def test_refusalHeaders(self) -> None:
        """What a plugin repeats of its client's words begins no header, and what cannot be said is left out."""
        said = 'realm="a\r\nSet-Cookie: b\nc\0d"'
        (response,) = responses(
            refusalBytes(Refusal(401, "Who\ud800?", (("WWW-Authenticate", said), ("X\r\nY", "\udfff"))))
        )
        self.assertEqual(response.headers["www-authenticate"], 'realm="a  Set-Cookie: b c d"')
        self.assertEqual((response.body, response.headers["x  y"]), (b"401 Who??\n", "?"))
