"""The page that a person is told to open when the proxy starts: one that exists."""

from __future__ import annotations

import os

__all__ = ["entryPath"]

_PAGES = ("vnc.html", "vnc_lite.html", "index.html")
"""noVNC's pages, which come without an index, and what C{--index} may have displaced."""


def entryPath(web: str | None, *, index: str, listing: bool, own: bool) -> str | None:
    """
    @param web: the operator's directory, if there is one.
    @param index: the name of its index files.
    @param listing: whether a directory without one is listed.
    @param own: whether the proxy serves pages of its own.
    @return: the path of a page, from C{/} on; C{None} where there is none.
    """
    if web is None:
        return "/" if own else None
    if os.path.isfile(os.path.join(web, index)):
        return "/"
    for page in _PAGES:
        if os.path.isfile(os.path.join(web, page)):
            return f"/{page}"
    return "/" if listing else "/wsproxy/" if own else None
