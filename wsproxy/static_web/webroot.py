"""The directory that is served, and the rule on what beneath it a client may reach.

A client names a file by path segments, percent-decoded, as bytes. A segment that is empty, begins with a dot,
holds a slash, a backslash or a NUL, or is not UTF-8, names nothing; but C{.well-known} does at the top (RFC 8615),
where authorities look for proofs and phones for associations. What is left cannot climb out of the root
by itself, but a symbolic link may lead out; so the path is resolved first, and must lie beneath the resolved
root. Before it is opened somebody may put a link in the way: the resolved path, which has none, is therefore
opened component by component, each from the descriptor of the one before, and never through a link.

A link may lead to a dotted name inside the root, as those of package managers and mounted volumes do: the
rule on names is about what a client may ask for; the link is the operator's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from io import FileIO
from stat import S_ISDIR, S_ISREG

__all__ = ["WebRoot"]

_WELL_KNOWN = b".well-known"

# O_PATH needs no permission to read a directory on the way, as no path lookup does. Linux has it.
_STEP = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
# A FIFO would make open() wait for its other end, a terminal could become ours.
_LAST = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class WebRoot:
    """The files beneath C{root}, which may itself be a link, looked up anew for each request.

    What does not exist, what may not be named and what lies elsewhere are the same L{FileNotFoundError}.
    """

    def __init__(self, root: str) -> None:
        self._root = os.fsencode(root)

    def open(self, segments: Sequence[bytes]) -> FileIO:
        """
        Open a regular file for reading.

        @raise IsADirectoryError: it is a directory.
        @raise OSError: it cannot be had: nothing of that name, neither file nor directory, no permission, …
        """
        descriptor = self._descend(segments, _LAST)
        try:
            mode = os.fstat(descriptor).st_mode
            if S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, "a directory")
            if not S_ISREG(mode):
                raise FileNotFoundError(errno.ENOENT, "not a regular file")
            return FileIO(descriptor, "rb")
        except OSError:
            os.close(descriptor)
            raise

    def list(self, segments: Sequence[bytes]) -> list[str]:
        """
        Name what a client may ask for in a directory, sorted; the names of directories end with a slash.

        @raise OSError: as L{open} does.
        """
        descriptor = self._descend(segments, _LAST | os.O_DIRECTORY)
        try:
            with os.scandir(descriptor) as entries:
                return sorted(name for entry in entries if (name := self._listed(segments, entry)) is not None)
        finally:
            os.close(descriptor)

    def _listed(self, segments: Sequence[bytes], entry: os.DirEntry[str]) -> str | None:
        """How a listing names an entry; L{None} for what cannot be asked for."""
        path = [*segments, os.fsencode(entry.name)]
        try:
            if entry.is_symlink():
                mode = os.stat(self._resolve(path)[1]).st_mode
                isFile, isDirectory = S_ISREG(mode), S_ISDIR(mode)
            else:  # resolving each costs 40 us
                isFile, isDirectory = entry.is_file(follow_symlinks=False), entry.is_dir(follow_symlinks=False)
        except OSError:
            return None
        if not _mayBeAskedFor(path) or not (isFile or isDirectory):
            return None
        return entry.name + "/" * isDirectory

    def _resolve(self, segments: Sequence[bytes]) -> tuple[bytes, bytes]:
        """The root and the path without links; the path lies beneath the root."""
        if not _mayBeAskedFor(segments):
            raise FileNotFoundError(errno.ENOENT, "not a name to ask for")
        root = os.path.realpath(self._root, strict=True)
        path = os.path.realpath(os.path.join(root, *segments), strict=True)
        if os.path.commonpath((root, path)) != root:
            raise FileNotFoundError(errno.ENOENT, "outside the root")
        return root, path

    def _descend(self, segments: Sequence[bytes], flags: int) -> int:
        """Open the path with C{flags}, no component of it through a link."""
        root, path = self._resolve(segments)
        descriptor = os.open(root, _STEP)
        *steps, last = os.path.relpath(path, root).split(b"/")
        for name, how in [*((step, _STEP) for step in steps), (last, flags)]:
            parent = descriptor
            try:
                descriptor = os.open(name, how, dir_fd=parent)
            finally:
                os.close(parent)
        return descriptor


def _mayBeAskedFor(segments: Sequence[bytes]) -> bool:
    return all(map(_mayBeNamed, segments[1:] if segments[:1] == [_WELL_KNOWN] else segments))


def _mayBeNamed(segment: bytes) -> bool:
    try:
        segment.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return segment != b"" and not segment.startswith(b".") and not any(byte in b"/\\\0" for byte in segment)
