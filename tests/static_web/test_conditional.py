"""Tests of L{wsproxy.static_web.conditional}."""

from __future__ import annotations

from http import HTTPStatus

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.static_web.conditional import Validators, failedPrecondition, parseDate, requestedRange

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"
CURRENT = Validators('"5-a,b"', 784111777)
NOT_MODIFIED = HTTPStatus.NOT_MODIFIED
FAILED = HTTPStatus.PRECONDITION_FAILED


class DateTests(SynchronousTestCase):
    def test_formats(self) -> None:
        """All three formats of RFC 9110 section 5.6.7 are one and the same instant, in GMT."""
        for value in (DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"):
            self.assertEqual(784111777, parseDate(value), value)

    def test_roundTrip(self) -> None:
        """What is sent as Last-Modified is read back as the same instant."""
        self.assertEqual(DATE, CURRENT.lastModified)

    def test_invalid(self) -> None:
        """What is not a date in GMT is none."""
        for value in (
            None,
            "",
            "0",
            "yesterday",
            '"etag"',
            "Sun, 06 Foo 1994",
            DATE.replace("GMT", "+0200"),
            DATE.replace("1994", "99999"),
        ):
            self.assertIdentical(None, parseDate(value), value)

    @settings(deadline=None)
    @given(st.one_of(st.text(), st.text(alphabet="SunNov 0123456789:,-+GMT")))
    def test_total(self, value: str) -> None:
        """Every string is a date or none, and never an error."""
        result = parseDate(value)
        self.assertTrue(result is None or isinstance(result, int))


class PreconditionTests(SynchronousTestCase):
    def assertAnswers(self, expected: HTTPStatus | None, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.assertIdentical(expected, failedPrecondition(named, CURRENT), named)

    def test_none(self) -> None:
        """Without conditions the file is served."""
        self.assertAnswers(None)

    def test_ifNoneMatch(self) -> None:
        """If-None-Match compares weakly, in lists and with commas in tags; C{*} matches any file."""
        for value in ('"5-a,b"', 'W/"5-a,b"', '"x", W/"y,z" ,"5-a,b"', "*"):
            self.assertAnswers(NOT_MODIFIED, if_none_match=value)
        for value in ('"5"', '"x", "a,b"', "5-a,b", "", '"*"'):
            self.assertAnswers(None, if_none_match=value)

    def test_ifModifiedSince(self) -> None:
        """A file is not modified since the date it has, or a later one; no date at all says nothing."""
        self.assertAnswers(NOT_MODIFIED, if_modified_since=DATE)
        self.assertAnswers(NOT_MODIFIED, if_modified_since=AFTER)
        self.assertAnswers(None, if_modified_since=BEFORE)
        self.assertAnswers(None, if_modified_since="whenever")

    def test_tagOverDate(self) -> None:
        """Where both are given the entity tag decides, and the date is not looked at."""
        self.assertAnswers(None, if_none_match='"other"', if_modified_since=AFTER)
        self.assertAnswers(NOT_MODIFIED, if_none_match='"5-a,b"', if_modified_since=BEFORE)
        self.assertAnswers(None, if_match='"5-a,b"', if_unmodified_since=BEFORE)

    def test_ifMatch(self) -> None:
        """If-Match compares strongly: another tag, and a weak one, fail with 412."""
        self.assertAnswers(None, if_match='"x", "5-a,b"')
        self.assertAnswers(None, if_match="*")
        self.assertAnswers(FAILED, if_match='"x"')
        self.assertAnswers(FAILED, if_match='W/"5-a,b"')

    def test_ifUnmodifiedSince(self) -> None:
        """A file that is newer than If-Unmodified-Since fails with 412."""
        self.assertAnswers(None, if_unmodified_since=DATE)
        self.assertAnswers(FAILED, if_unmodified_since=BEFORE)
        self.assertAnswers(None, if_unmodified_since="whenever")

    def test_412Over304(self) -> None:
        """If-Match and If-Unmodified-Since are evaluated before the others, and do not replace them."""
        self.assertAnswers(FAILED, if_match='"x"', if_none_match='"5-a,b"')
        self.assertAnswers(NOT_MODIFIED, if_match='"5-a,b"', if_none_match='"5-a,b"')


class RangeTests(SynchronousTestCase):
    def assertAsks(self, expected: range | None, value: str, *, size: int = 10, **headers: str) -> None:
        named = {"range": value, **{name.replace("_", "-"): each for name, each in headers.items()}}
        self.assertEqual(expected, requestedRange(named, CURRENT, size), named)

    def test_parts(self) -> None:
        """Closed, open and suffix ranges are cut to the size of the file."""
        for value, expected in (
            ("bytes=0-0", range(1)),
            ("bytes=2-4", range(2, 5)),
            ("bytes=9-9", range(9, 10)),
            ("bytes=3-99", range(3, 10)),
            ("bytes=3-", range(3, 10)),
            ("bytes=0-", range(10)),
            ("bytes=-1", range(9, 10)),
            ("bytes=-99", range(10)),
            ("BYTES= 1-2 ", range(1, 3)),
        ):
            self.assertAsks(expected, value)

    def test_beyondTheEnd(self) -> None:
        """A range that begins at the end or beyond, or the last zero bytes, is empty."""
        for value in ("bytes=10-", "bytes=10-10", "bytes=999999999999999999-", "bytes=-0"):
            part = requestedRange({"range": value}, CURRENT, 10)
            self.assertIsNotNone(part, value)
            self.assertEqual([], list(part or ()), value)

    def test_wholeFile(self) -> None:
        """Several ranges, other units and what is not a range are answered with the whole file."""
        for value in (
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=4-2",
            "bytes=0-1,4-5",
            "bytes=0-1,",
            "bytes=a-b",
            "bytes=--1",
            "bytes=+1-2",
            "bytes=1 - 2",
            "bytes=\u0661-\u0662",
            "bytes=" + "1" * 5000 + "-",
            "lines=1-2",
        ):
            self.assertAsks(None, value)
        self.assertIdentical(None, requestedRange({}, CURRENT, 10))

    def test_emptyFile(self) -> None:
        """An empty file has no parts, and is served whole."""
        for value in ("bytes=0-", "bytes=-1", "bytes=5-"):
            self.assertAsks(None, value, size=0)

    def test_ifRange(self) -> None:
        """A range holds only for the file it was meant for: the same strong tag, or the very date."""
        for value in (CURRENT.etag, DATE, "Sunday, 06-Nov-94 08:49:37 GMT"):
            self.assertAsks(range(1, 3), "bytes=1-2", if_range=value)
        for value in ('"x"', "W/" + CURRENT.etag, BEFORE, AFTER, "", "whenever"):
            self.assertAsks(None, "bytes=1-2", if_range=value)

    @settings(deadline=None)
    @given(st.text(alphabet="bytes=0123456789-, "), st.integers(0, 20))
    def test_insideTheFile(self, value: str, size: int) -> None:
        """Whatever is asked for, no byte outside the file is."""
        part = requestedRange({"range": value}, CURRENT, size)
        if part:
            self.assertTrue(0 <= part.start < part.stop <= size, part)
