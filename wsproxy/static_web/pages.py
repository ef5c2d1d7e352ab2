"""What plain requests see: the operator's files, the proxy's own pages, or the one with the other under /wsproxy/."""

# twisted.web leaves the methods of Request and Resource without annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from wsproxy.daemon.threads import Threads
from wsproxy.endpoints.target import DemoTarget, TCPTarget, parseTarget
from wsproxy.errors import ConfigError
from wsproxy.static_web.files import StaticFiles, segmentsOf

__all__ = ["OwnPages", "kindOf", "makePages"]

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self' ws: wss:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'self'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
_EXCEPTIONS = {
    # xterm.js puts style elements and attributes into the page, for each colour and size.
    b"wstelnet.html": {"style-src": "'self' 'unsafe-inline'"},
    # noVNC draws cursors and JPEG from data: URLs.
    b"wsvnc.html": {"img-src": "'self' data:"},
}

_KINDS = {23: "telnet", 992: "telnet", 194: "irc", **dict.fromkeys((*range(6660, 6670), 6697), "irc")}
_KINDS |= dict.fromkeys(range(5900, 6000), "vnc")


def kindOf(target: str | None) -> str:
    """
    What a target string leads to, as far as strangers may know: no name, no address.

    @return: C{"demo"}; C{"telnet"}, C{"irc"} or C{"vnc"} by a well-known port; else C{"other"}.
    """
    try:
        parsed = parseTarget(target or "")
    except ConfigError:
        return "other"
    if isinstance(parsed, DemoTarget):
        return "demo"
    return _KINDS.get(parsed.port, "other") if isinstance(parsed, TCPTarget) else "other"


class OwnPages(StaticFiles):
    """
    The pages and modules that come with the proxy: nothing inline runs, nothing comes from elsewhere.

    C{wsproxy.json} among them tells the pages what the port leads to: C{{"target": "vnc"}}.

    @param target: as L{kindOf} names it.
    """

    def __init__(self, target: str = "other") -> None:
        super().__init__(str(files("wsproxy") / "static"))
        self._about = json.dumps({"target": target}).encode()

    def render(self, request: Request) -> bytes | int:
        path = segmentsOf(request)
        policy = _POLICY | _EXCEPTIONS.get(path[-1] if path else b"", {})
        request.setHeader("content-security-policy", "; ".join(f"{name} {value}" for name, value in policy.items()))
        request.setHeader("referrer-policy", "no-referrer")
        if list(path) == [b"wsproxy.json"] and request.method in (b"GET", b"HEAD"):
            return self._tell(request)
        return super().render(request)

    def _tell(self, request: Request) -> bytes:
        request.setHeader("content-type", "application/json")
        request.setHeader("cache-control", "no-cache")
        request.setHeader("x-content-type-options", "nosniff")
        return self._about


def makePages(web: str | None, *, index: str, listing: Threads | None, own: bool, target: str) -> IResource | None:
    """
    @param web: the operator's directory, if there is one.
    @param index: the name of its index files.
    @param listing: where its directories without an index are read, to be listed, if they are.
    @param own: whether the proxy's pages are served, at C{/} or, beside C{web}, under C{/wsproxy/}.
    @param target: what they say the port leads to, as L{kindOf} names it.
    @return: C{None} where nothing is served.
    """
    if web is None:
        return OwnPages(target) if own else None
    root = StaticFiles(web, index=index, listing=listing)
    return _Beside(root, OwnPages(target)) if own else root


class _Beside(Resource):
    """Our pages under C{/wsproxy/}; the operator's files everywhere else."""

    def __init__(self, root: IResource, own: IResource) -> None:
        super().__init__()
        self._root = root
        self.putChild(b"wsproxy", own)

    def getChild(self, path: bytes, request: Any) -> IResource:
        request.postpath.insert(0, request.prepath.pop())
        return self._root
