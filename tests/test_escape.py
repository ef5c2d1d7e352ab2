"""Text from strangers in log lines."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.escape import escape


class EscapeTests(SynchronousTestCase):
    def test_printable(self) -> None:
        """What can be printed stays as it is, in any script."""
        for text in ("", "Target closed", "Größe → 世界", 'quotes " and \\ backslashes'):
            self.assertEqual(escape(text), text)

    def test_unprintable(self) -> None:
        """Line ends, terminal controls, and what turns the direction of writing are escaped."""
        self.assertEqual(
            escape("a\r\nb\x1b[2J\x00\x7f\x9b\u202e\u2028"), "a\\r\\nb\\x1b[2J\\x00\\x7f\\x9b\\u202e\\u2028"
        )

    def test_surrogates(self) -> None:
        """Bytes that were not UTF-8, held as surrogates, are escaped."""
        self.assertEqual(escape("\udcff"), "\\udcff")

    def test_limit(self) -> None:
        """Longer text is cut, and shows that it was."""
        self.assertEqual(escape("x" * 200), "x" * 200)
        self.assertEqual(escape("x" * 201), "x" * 200 + "…")
        self.assertEqual(escape("abc", 2), "ab…")
        self.assertEqual(escape("x" * 201, None), "x" * 201)

    @settings(derandomize=True, database=None, deadline=None)
    @given(st.text(st.characters(codec=None)))
    def test_any(self, text: str) -> None:
        """Whatever a stranger chose comes out as one printable line of bounded length."""
        escaped = escape(text, 20)
        self.assertTrue(escaped.isprintable())
        self.assertLessEqual(len(escaped), 20 * 10 + 1)
        escaped.encode()
