"""The query of a request."""

from __future__ import annotations

from urllib.parse import parse_qs

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.frontend.query import parseQuery


class ParseTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """All values of each parameter, decoded, in their order."""
        for text, expected in (
            ("", {}),
            ("token=red", {"token": ("red",)}),
            ("token=", {"token": ("",)}),
            ("token", {"token": ("",)}),
            ("a=b=c;d", {"a": ("b=c;d",)}),
            ("a=1&b=2&a=3", {"a": ("1", "3"), "b": ("2",)}),
            ("a=%2F+x", {"a": ("/ x",)}),
        ):
            self.assertEqual(parseQuery(text), expected)

    @given(st.text("ab=&%+;2F\xe4", max_size=8))
    def test_asUsual(self, text: str) -> None:
        """Whatever it is, it is understood as the standard library understands it."""
        expected = {name: tuple(values) for name, values in parse_qs(text, keep_blank_values=True).items()}
        self.assertEqual(parseQuery(text), expected)
