"""Static files over HTTP: a directory such as noVNC's, served to a browser before it opens its WebSocket.

L{wsproxy.static_web.webroot} says what may be reached, L{wsproxy.static_web.conditional} which part of it is
wanted; this module puts the answer into headers and sends the bytes no faster than the client takes them.

Of C{twisted.web.static} nothing is used: it follows links anywhere, serves dotfiles, takes content types from
the machine, redirects to what the request named, and has no entity tags.
"""

# twisted.web leaves the methods of Request and Resource without annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from html import escape
from http import HTTPStatus
from io import FileIO
from urllib.parse import quote

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from wsproxy.config import WebConfig
from wsproxy.daemon.threads import Threads
from wsproxy.recording.format import HEAD
from wsproxy.static_web.conditional import Validators, failedPrecondition, requestedRange
from wsproxy.static_web.webroot import WebRoot

__all__ = ["StaticFiles", "segmentsOf"]

# Fixed, because a page must not stop working where /etc/mime.types is old: with nosniff, browsers run scripts
# only under a JavaScript type, and they compile WebAssembly as it streams only under its own.
_TYPES = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".css": "text/css; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".cur": "image/x-icon",
    ".gif": "image/gif",
    ".gz": "application/gzip",
    ".htm": "text/html; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".otf": "font/otf",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xhtml": "application/xhtml+xml",
    ".xml": "application/xml",
    ".zip": "application/zip",
}
_UNKNOWN_TYPE = "application/octet-stream"

_STATUSES = {
    errno.EACCES: HTTPStatus.FORBIDDEN,
    errno.EINVAL: HTTPStatus.NOT_FOUND,  # what was a link just now
    errno.EISDIR: HTTPStatus.NOT_FOUND,
    errno.ELOOP: HTTPStatus.NOT_FOUND,
    errno.ENAMETOOLONG: HTTPStatus.NOT_FOUND,
    errno.ENOENT: HTTPStatus.NOT_FOUND,
    errno.ENOTDIR: HTTPStatus.NOT_FOUND,
    errno.ENXIO: HTTPStatus.NOT_FOUND,  # a unix socket
    errno.EPERM: HTTPStatus.FORBIDDEN,
    errno.ESTALE: HTTPStatus.NOT_FOUND,  # gone, on another machine
}

_CHUNK = 64 * 1024


class StaticFiles(Resource):
    """A directory and everything beneath it that may be asked for, by GET and HEAD.

    It takes the whole rest of the path, as the root of a L{Site<twisted.web.server.Site>} or anybody's child.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, root: str, *, index: str = WebConfig().index, listing: Threads | None = None) -> None:
        """
        @param root: the directory's path.
        @param index: the file that stands for a directory.
        @param listing: where a directory without it is read, to be listed; without, it is not found.
        """
        super().__init__()
        self._root = WebRoot(root)
        self._index = os.fsencode(index)
        self._listing = listing

    def render(self, request: Request) -> bytes | int:
        """Answer with a file or part of it, a directory's listing, a redirect, or an error of one line."""
        request.setHeader("X-Content-Type-Options", "nosniff")
        # Kept by browsers, but asked for again each time: an upgraded page shows at once.
        request.setHeader("Cache-Control", "no-cache")
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader("Allow", "GET, HEAD")
            return _page(request, HTTPStatus.METHOD_NOT_ALLOWED)
        if not request.path.startswith(b"/"):
            # Twisted cuts off the first byte unseen: "xa" and "http://host/a" would be paths like "/a".
            return _page(request, HTTPStatus.BAD_REQUEST)
        try:
            return self._serve(request, segmentsOf(request))
        except OSError as error:
            return self._fail(request, error)

    def _fail(self, request: Request, error: OSError) -> bytes:
        status = _STATUSES.get(error.errno or 0)
        if status is None:
            self._log.error("cannot serve {path!r}: {error}", path=request.path, error=error)
            status = HTTPStatus.SERVICE_UNAVAILABLE
        return _page(request, status)

    def _serve(self, request: Request, segments: Sequence[bytes]) -> bytes | int:
        if segments and not segments[-1]:
            return self._serveDirectory(request, segments[:-1])
        try:
            file = self._root.open(segments)
        except IsADirectoryError:
            if segments != request.postpath:
                raise  # to redirect from //name would be to answer with what may be read as another host
            return _redirectInto(request)
        return _send(request, file, segments[-1])

    def _serveDirectory(self, request: Request, segments: Sequence[bytes]) -> bytes | int:
        try:
            file = self._root.open([*segments, self._index])
        except (FileNotFoundError, IsADirectoryError):
            if self._listing is None:
                raise
            return self._list(request, segments, self._listing)
        return _send(request, file, self._index)

    def _list(self, request: Request, segments: Sequence[bytes], threads: Threads) -> int:
        """Answer with a listing, made in a thread; to the next request of a connection not before that is done."""
        listing = threads.call(lambda: _listing(segments, self._root.list(segments)))
        request.notifyFinish().addErrback(lambda left: listing.cancel())

        def answer(page: str) -> bytes:
            request.setHeader("Content-Security-Policy", "default-src 'none'")
            return _text(request, "text/html; charset=utf-8", page)

        def refuse(failure: Failure) -> bytes:
            error = failure.value
            if not isinstance(error, OSError):
                failure.raiseException()
            return self._fail(request, error)

        def finish(body: bytes) -> None:
            request.write(body)
            request.finish()

        listing.addCallbacks(answer, refuse).addCallback(finish)
        listing.addErrback(self._unlisted, request)
        return NOT_DONE_YET

    def _unlisted(self, failure: Failure, request: Request) -> None:
        if not failure.check(CancelledError):  # its client has left
            request.processingFailed(failure)


def segmentsOf(request: Request) -> Sequence[bytes]:
    """Those of the path, but the empty ones in front: C{//vnc.html} is what joining a base and a path often gives."""
    segments: Sequence[bytes] = request.postpath or []
    empty = 0
    while empty < len(segments) - 1 and not segments[empty]:
        empty += 1
    return segments[empty:]


def _send(request: Request, file: FileIO, name: bytes) -> bytes | int:
    """Answer with as much of C{file} as is wanted, and close it in the end."""
    try:
        answer = _answer(request, file.fileno(), name)
    except OSError:
        file.close()
        raise
    if isinstance(answer, range):
        _FileProducer(request, file, answer).start()
        return NOT_DONE_YET
    file.close()
    return answer


def _answer(request: Request, file: int, name: bytes) -> bytes | int | range:
    """
    Put the status and the headers for a file into the response.

    @return: the bytes of the file that make its body; where none are wanted, what C{render} is to return.
    """
    status = os.fstat(file)
    size = status.st_size
    # Package archives give all their files the same mtime, release after release; no tool sets the ctime.
    current = Validators(f'"{status.st_ino:x}-{size:x}-{status.st_ctime_ns:x}"', int(status.st_mtime))
    request.setHeader("ETag", current.etag)
    if current.lastModified is not None:
        request.setHeader("Last-Modified", current.lastModified)
    headers = {
        name.decode("latin-1").lower(): b", ".join(values).decode("latin-1")
        for name, values in request.requestHeaders.getAllRawHeaders()
    }
    failed = failedPrecondition(headers, current)
    if failed is HTTPStatus.NOT_MODIFIED:
        request.setResponseCode(failed)
        # A body, even an empty one, would get a Content-Length that is not the file's (RFC 9110 section 8.6).
        request.finish()
        return NOT_DONE_YET
    if failed is not None:
        return _page(request, failed)

    request.setHeader("Accept-Ranges", "bytes")
    # A range means something to GET only (section 14.2).
    part = requestedRange(headers, current, size) if request.method == b"GET" else None
    if part is not None and not part:
        request.setHeader("Content-Range", f"bytes */{size}")
        return _page(request, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    if part is not None:
        request.setResponseCode(HTTPStatus.PARTIAL_CONTENT)
        request.setHeader("Content-Range", f"bytes {part.start}-{part.stop - 1}/{size}")
    span = range(size) if part is None else part
    request.setHeader("Content-Type", _type(file, name))
    request.setHeader("Content-Length", str(len(span)))
    return b"" if request.method == b"HEAD" else span


def _type(file: int, name: bytes) -> str:
    """By the extension; a recording, which need have none, is the script that noVNC's playback page wants."""
    extension = os.path.splitext(name)[1].decode("ascii", "replace").lower()
    known = _TYPES.get(extension)
    if known is None:
        return _TYPES[".js"] if os.pread(file, len(HEAD), 0) == HEAD else _UNKNOWN_TYPE
    return known


@implementer(IPushProducer)
class _FileProducer:
    """The body of a response: a span of a file, read a chunk at a time while the client takes it.

    The file is closed when the response ends, however it does.
    """

    _log = Logger()

    def __init__(self, request: Request, file: FileIO, span: range) -> None:
        self._request = request
        self._file = file
        self._left = len(span)
        self._paused = False
        file.seek(span.start)

    def start(self) -> None:
        self._request.notifyFinish().addBoth(lambda _: self._file.close())
        self._request.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self._left and not self._paused:
            try:
                chunk = self._file.read(min(_CHUNK, self._left))
            except OSError as error:
                self._log.error("cannot read on in a file: {error}", error=error)
                chunk = b""
            if not chunk:
                # The file has shrunk. A connection that ends early tells the client so; nothing else can.
                self._request.unregisterProducer()
                self._request.loseConnection()
                return
            self._left -= len(chunk)
            self._request.write(chunk)
        # Not before the last chunk has left: finishing lets in the next of pipelined requests, and its bytes
        # would pile up behind this one's.
        if not self._paused:
            self._request.unregisterProducer()
            self._request.finish()


def _redirectInto(request: Request) -> bytes:
    """Send the client from C{…/name} to C{…/name/}, so that relative links in there work.

    The Location is relative: it can never name another host, and it fits behind a proxy that adds a prefix.
    """
    *_, name = request.postpath or request.prepath or []
    _, mark, query = request.uri.partition(b"?")
    location = b"./" + quote(name, safe="").encode("ascii") + b"/" + mark + query
    request.setHeader("Location", location)
    return _page(request, HTTPStatus.MOVED_PERMANENTLY)


def _listing(segments: Sequence[bytes], names: Sequence[str]) -> str:
    """The page that lists these names."""
    title = escape("/" + "".join(segment.decode("utf-8") + "/" for segment in segments))
    links = "".join(f'<li><a href="./{quote(name)}">{escape(name)}</a></li>\n' for name in names)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n'
        f"<h1>{title}</h1>\n<ul>\n{links}</ul>\n</html>\n"
    )


def _page(request: Request, status: HTTPStatus) -> bytes:
    """Answer with the status in words; nothing of the request is repeated."""
    request.setResponseCode(status)
    return _text(request, "text/plain; charset=utf-8", f"{status.value} {status.phrase}\n")


def _text(request: Request, contentType: str, text: str) -> bytes:
    body = text.encode("utf-8")
    request.setHeader("Content-Type", contentType)
    request.setHeader("Content-Length", str(len(body)))
    return b"" if request.method == b"HEAD" else body
