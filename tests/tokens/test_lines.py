"""The text of a token file, and what is new in another edition of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.tokens.lines import NOTHING, fresh, parse

LINES = ["", "# a", "a: h:1", "b: h:2", "c: h:30", "c: h:3", "a: h:9", "bad", "a: h", " d:\tx:1 \r", "e"]
LINE = st.sampled_from(LINES)
TEXT = st.builds(lambda lines, end: "\n".join(lines) + end, st.lists(LINE, max_size=30), st.sampled_from(["", "\n"]))


class ParseTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """The original's format: a token, a colon, white space, a target; comments and empty lines say nothing."""
        for line, expected in (
            ("red: db.example:5900", {"red": "db.example:5900"}),
            (" red:\t192.0.2.1:50000 \r", {"red": "192.0.2.1:50000"}),
            ("a:b: [::1]:5900", {"a:b": "[::1]:5900"}),
            ("a b:  db:1", {"a b": "db:1"}),
            ("red: unix_socket:/run/x y.sock", {"red": "unix_socket:/run/x y.sock"}),
            ("red: tls:db:443 proxy=v2", {"red": "tls:db:443 proxy=v2"}),
            ("red: tcp:host=db:port=5900", {"red": "tcp:host=db:port=5900"}),
            ("rot: bücher.example:65535", {"rot": "bücher.example:65535"}),
            ("# red: db:1", {}),
            ("  #", {}),
            (" ", {}),
            ("", {}),
        ):
            found = parse([line])
            self.assertEqual((found.entries, found.bad), (expected, []), line)

    def test_bad(self) -> None:
        """What is neither is a bad line, and those around it count."""
        bad = [
            "red",
            "red:db:1",
            "red: db",
            "red: db:0",
            "red: db:65536",
            "red: db:1 proxy=x",
            ": db:1",
            "red:",
            "a: \udcff",
        ]
        for line in [*bad, "red: unix:x", "red: db:1 # x", "red: 1.2.3.4:99999", "red: db: 1", "red: db:1\0"]:
            found = parse(["a: h:1", line, "b: h:2"], 7)
            self.assertEqual((found.entries, found.bad), ({"a": "h:1", "b": "h:2"}, [(8, line)]), line)

    def test_later(self) -> None:
        """Of two lines with the same token the later one counts."""
        self.assertEqual(parse(["a: h:1", "a: h:2"]).entries, {"a": "h:2"})


class EditionTests(SynchronousTestCase):
    @given(st.lists(TEXT, min_size=1, max_size=5))
    def test_any(self, texts: list[str]) -> None:
        """However one edition becomes the next, it is as if that had been read alone."""
        edition = NOTHING
        for text in texts:
            edition = edition.next(text)
            alone = parse(text.split("\n"))
            self.assertEqual((edition.entries, list(edition.bad)), (alone.entries, alone.bad))

    @given(TEXT, TEXT)
    def test_appended(self, text: str, more: str) -> None:
        """So it is where lines were added at the end."""
        alone = parse((text + more).split("\n"))
        edition = NOTHING.next(text).next(text + more)
        self.assertEqual((edition.entries, list(edition.bad)), (alone.entries, alone.bad))

    @given(TEXT, TEXT, st.integers(0, 100), st.sampled_from(["replace", "insert", "remove", "cut"]))
    def test_fresh(self, old: str, more: str, place: int, how: str) -> None:
        """What is new in a text is all found, and nothing that is not in it."""
        new = {
            "replace": more,
            "insert": old[:place] + more + old[place:],
            "remove": old[:place] + old[place + 7 :],
            "cut": old[:place],
        }[how]
        found = fresh(old, new)
        self.assertLessEqual(set(new.split("\n")) - set(old.split("\n")), set(found))
        self.assertLessEqual(set(found), set(new.split("\n")))

    def test_freshIsLittle(self) -> None:
        """Of many lines that moved, those that are new are left."""
        lines = [f"token{number}: h:1" for number in range(5000)]
        old = "\n".join(lines)
        self.assertEqual(fresh(old, "\n".join([*reversed(lines), "new: h:2"])), ["new: h:2"])
        self.assertEqual(len(fresh(old, "\n".join([*lines[:2500], "new: h:2", *lines[2501:]]))), 1)
        self.assertLess(len(fresh(old, "\n".join(lines[:2500]) + "\n")), 3)
