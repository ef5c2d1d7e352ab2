"""Which part of a file, if any, a request wants: preconditions and ranges (RFC 9110 sections 13 and 14).

Sans-IO. Headers come as a mapping from lower-case names to values, repeated ones joined with C{", "}. What
cannot be understood is ignored, as the RFC asks: the answer is then the whole file.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate_tz
from http import HTTPStatus

__all__ = ["Validators", "failedPrecondition", "parseDate", "requestedRange"]

_ENTITY_TAG = re.compile(r'(W/)?("[^"]*")')
# 18 digits count any file's bytes, and keep int() from 16 KiB of them.
_BYTE_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells one state of a file from another.

    @ivar etag: a strong entity tag, in its quotes.
    @ivar modified: the time of the last change, in whole seconds since the epoch.
    """

    etag: str
    modified: int

    @property
    def lastModified(self) -> str | None:
        """C{modified} as an HTTP date; L{None} where that has none, before the year 1 or after 9999."""
        try:
            return formatdate(self.modified, usegmt=True)
        except (ValueError, OverflowError, OSError):
            return None


def parseDate(value: str | None) -> int | None:
    """
    @param value: an HTTP date in any of the three formats of RFC 9110 section 5.6.7, all of them in GMT.
    @return: seconds since the epoch, or L{None} where C{value} is none such.
    """
    try:
        fields = parsedate_tz(value) if value else None
        # A date without a zone is asctime's, and means GMT as well.
        if fields is None or fields[9]:
            return None
        return timegm(fields[:6])
    except (ValueError, OverflowError):
        return None


def _lists(value: str, etag: str, *, weakly: bool) -> bool:
    """Whether a tag in C{value}, or a C{*}, is C{etag}; weak ones count only C{weakly} (section 8.8.3.2)."""
    if value.strip() == "*":
        return True
    return any(tag == etag and (weakly or not weak) for weak, tag in _ENTITY_TAG.findall(value))


def failedPrecondition(headers: Mapping[str, str], current: Validators) -> HTTPStatus | None:
    """
    Evaluate the preconditions of a GET or HEAD request, in the order of RFC 9110 section 13.2.2.

    @return: 412 or 304 where that is the answer; L{None} where the file is to be served.
    """
    if "if-match" in headers:
        if not _lists(headers["if-match"], current.etag, weakly=False):
            return HTTPStatus.PRECONDITION_FAILED
    else:
        unmodifiedSince = parseDate(headers.get("if-unmodified-since"))
        if unmodifiedSince is not None and current.modified > unmodifiedSince:
            return HTTPStatus.PRECONDITION_FAILED
    if "if-none-match" in headers:
        seen = _lists(headers["if-none-match"], current.etag, weakly=True)
    else:
        modifiedSince = parseDate(headers.get("if-modified-since"))
        seen = modifiedSince is not None and current.modified <= modifiedSince
    return HTTPStatus.NOT_MODIFIED if seen else None


def requestedRange(headers: Mapping[str, str], current: Validators, size: int) -> range | None:
    """
    Find the bytes that a GET request asks for, out of C{size}.

    Several ranges at once are not served, and answered with the whole file (section 14.2 allows it).

    @return: the offsets to send (206); an empty range where they lie beyond the end (416); L{None} for the
        whole file (200).
    """
    match = _BYTE_RANGE.fullmatch(headers.get("range", ""))
    if match is None or not _stillApplies(headers.get("if-range"), current):
        return None
    first, last = match.groups()
    if size == 0:
        # There is no Content-Range for a part of nothing, and 416 would fail clients that always ask for one.
        return None
    if first:
        if last and int(last) < int(first):
            return None
        return range(int(first), min(int(last) + 1, size) if last else size)
    if last:
        return range(max(size - int(last), 0), size)
    return None


def _stillApplies(ifRange: str | None, current: Validators) -> bool:
    """Whether the part that a client has is of this file: a strong tag, or the very date (section 13.1.5)."""
    if ifRange is None:
        return True
    if '"' in ifRange:
        return ifRange.strip() == current.etag
    return parseDate(ifRange) == current.modified
