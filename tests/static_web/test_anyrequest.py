"""Whatever strangers ask of a directory: an answer, nothing from elsewhere, and no traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.frontend.connection import Connection, makeFactory, responses
from wsproxy.static_web.files import StaticFiles

reproducible = settings(derandomize=True, database=None, deadline=None, max_examples=300)

DIGITS = st.sampled_from(["0", "7", "1" * 18, "1" * 19, "9" * 4301, "-1", "\u0661", "0x1", "1e9", ""])
DATES = st.sampled_from(
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "Sun, 06 Nov " + "9" * 5000 + " 08:49:37 GMT",
        "Sun, 31 Feb 0000 99:99:99 GMT",
        "0",
        "Sun Nov  6 08:49:37 -1",
        ", ,,: :",
    ]
)
TAGS = st.sampled_from(['"', '"' * 999, "W/", 'W/"x"', "*", '*, "x"', "\xff", "\x0b"])
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Range": st.builds("{}={}-{}".format, st.sampled_from(["bytes", "BYTES", "lines", ""]), DIGITS, DIGITS),
        "If-Range": DATES | TAGS,
        "If-Match": TAGS,
        "If-None-Match": TAGS,
        "If-Modified-Since": DATES,
        "If-Unmodified-Since": DATES,
        "Accept": st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=9),
    },
)
SEGMENT = st.sampled_from(["", ".", "..", "file", "dir", "loop", "out", ".git", ".well-known", "a" * 300]) | (
    st.sampled_from(["%2e%2e", "%2f", "%5c", "%00", "%ff", "%c0%ae", "%", "%zz", "~", "\xe9", ";", "?", "#", "*", "\\"])
)
PATH = st.lists(SEGMENT, max_size=6).map(lambda segments: "/" + "/".join(segments))


class AnyRequestTests(SynchronousTestCase):
    def setUp(self) -> None:
        top = Path(self.mktemp()).absolute()
        root = top / "root"
        (root / "dir").mkdir(parents=True)
        (root / ".git").mkdir()
        for path in (top / "secret", root / ".git" / "secret"):
            path.write_bytes(b"secret")
        for path in (root / "file", root / "dir" / "file", root / "dir" / "index.html"):
            path.write_bytes(b"0123456789")
        (root / "loop").symlink_to("loop")
        (root / "out").symlink_to("..")
        self.root = str(root)

    @reproducible
    @given(st.sampled_from(["GET", "HEAD"]), PATH, HEADERS)
    def test_answered(self, method: str, path: str, headers: dict[str, str]) -> None:
        """Each request has a whole answer of its own, and the next one is answered as ever."""
        lines = [f"{method} {path} HTTP/1.1", "Host: here", *(f"{name}: {value}" for name, value in headers.items())]
        connection = Connection(makeFactory(Clock(), StaticFiles(self.root)))
        connection.send("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
        connection.send(b"GET /file HTTP/1.1\r\nHost: here\r\n\r\n")
        answers: list[Any] = responses(connection.told, method)
        self.assertIn(answers[0].status, (200, 206, 301, 304, 400, 404, 412, 416))
        self.assertNotIn(b"secret", connection.told)
        if answers[0].status != 400:
            self.assertEqual((len(answers), answers[-1].body), (2, b"0123456789"))
        self.assertEqual(self.flushLoggedErrors(), [])
        connection.lose()
