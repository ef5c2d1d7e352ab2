"""What is wrong with a request that is refused, and what cures it: the cause of its L{Refusal}, for the log.

Browsers and libraries make proper upgrade requests. What arrives here otherwise was mostly changed on its way, by a
proxy in front that has to be told to leave it alone::

    client ─ Upgrade, Connection, Sec-WebSocket-Key ─► nginx, HAProxy, … ─ Sec-WebSocket-Key alone ─► here

So each cause names what is missing or odd, and the line that mends it in the proxies that are in front of most. It
shows header values where they are harmless, never a path or a query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from twisted.web.http_headers import Headers

from wsproxy.errors import Refusal
from wsproxy.escape import escape

__all__ = [
    "announcementCause",
    "diagnosed",
    "handshakeCause",
    "hostCause",
    "isUpgrade",
    "malformedCause",
    "methodCause",
    "speechCause",
]

_SHOWN = 60
"""Characters of a header's value."""


def isUpgrade(headers: Headers) -> bool:
    """Whether a request asks for a WebSocket, or did so before a proxy in front took its C{Upgrade} away."""
    return (
        "websocket" in _tokens(headers, b"upgrade")
        or headers.hasHeader(b"sec-websocket-key")
        or headers.hasHeader(b"sec-websocket-version")
    )


def diagnosed(refusal: Refusal, headers: Headers, version: bytes) -> Refusal:
    """
    C{refusal}, which the upgrade with these headers met, with its cause.

    @param version: as in the request line, C{HTTP/1.1}.
    """
    causes = [*_versionCause(version), *_lostCauses(headers), *_handshakeCauses(headers)]
    if refusal.cause or not causes:
        return refusal
    status, reason, extra = refusal.status, refusal.reason, refusal.headers
    spoken = {value.strip() for value in headers.getRawHeaders(b"sec-websocket-version", ())} <= {b"13"}
    if version == b"HTTP/1.1" and any(_lostCauses(headers)) and spoken:
        status, reason, extra = 400, "A WebSocket needs Upgrade: websocket and Connection: upgrade", ()
    return Refusal(status, reason, extra, cause="; and ".join(causes))


def _versionCause(version: bytes) -> Iterator[str]:
    if version != b"HTTP/1.1":
        shown = _shown([version])
        yield f"{shown}: a proxy in front that speaks an old version? nginx: proxy_http_version 1.1"


def _lostCauses(headers: Headers) -> Iterator[str]:
    upgrade = _lost(headers, b"Upgrade", "websocket")
    connection = _lost(headers, b"Connection", "upgrade")
    if upgrade and connection:
        lines = "proxy_set_header Upgrade $http_upgrade and proxy_set_header Connection upgrade"
        cure = f"nginx: {lines}; {_HAPROXY} of them; {_APACHE}"
        yield f"{upgrade} and {connection}: a proxy in front drops them? {cure}"
    elif upgrade:
        cure = f"nginx: proxy_set_header Upgrade $http_upgrade; {_HAPROXY} Upgrade; {_APACHE}"
        yield f"{upgrade}: a proxy in front drops it? {cure}"
    elif connection:
        cure = f"nginx: proxy_set_header Connection upgrade; {_HAPROXY} Connection"
        yield f"{connection}: a proxy in front drops it? {cure}"


_HAPROXY = "HAProxy: no del-header or set-header"
_APACHE = "Apache: ProxyPass with upgrade=websocket"


def _lost(headers: Headers, name: bytes, token: str) -> str:
    """What is to be said of a header without this element; nothing of one that has it."""
    if token in _tokens(headers, name):
        return ""
    values = headers.getRawHeaders(name, ())
    return f"no {name.decode('ascii')}: {token}{f' ({_shown(values)})' if values else ''}"


def _handshakeCauses(headers: Headers) -> Iterator[str]:
    if headers.hasHeader(b"sec-websocket-key1"):
        yield "Sec-WebSocket-Key1 is of a draft of 2010: a newer client is needed, or --legacy"
        return
    for name in (b"Sec-WebSocket-Version", b"Sec-WebSocket-Key"):
        values = headers.getRawHeaders(name, ())
        header = name.decode("ascii")
        if not values:
            yield f"no {header}: a proxy in front that passes no headers on? nginx: proxy_pass_request_headers on"
        elif len(values) > 1:
            yield f"{header} {len(values)} times: a proxy in front that adds one?"
        elif name == b"Sec-WebSocket-Version" and values[0].strip() != b"13":
            legacy = ", or --legacy" if values[0].strip() == b"8" else ""
            yield f"Sec-WebSocket-Version is {_shown(values)}, a draft's: a newer client is needed{legacy}"


def hostCause(hosts: Sequence[bytes]) -> str:
    """@param hosts: the values of C{Host}, none or several."""
    if not hosts:
        cure = "nginx: proxy_set_header Host $http_host; HAProxy: no del-header Host"
        return f"no Host: a proxy in front drops it? {cure}"
    bare = [re.split(rb"[/?#@]", host, maxsplit=1)[0] for host in hosts]
    return (
        f"Host {len(hosts)} times ({_shown(bare)}): a proxy in front that adds one? "
        "HAProxy: http-request set-header Host, not add-header"
    )


def methodCause(method: bytes, headers: Headers) -> str:
    """Of a request that is neither GET nor HEAD."""
    if not isUpgrade(headers):
        return ""
    shown = _shown([method])
    return f"{shown} with an upgrade, which is a GET: a proxy in front that changes it? nginx: no proxy_method"


def malformedCause(line: bytes) -> str:
    """@param line: the request line, as far as it came."""
    if line.startswith(b"PROXY "):
        return speechCause(b"PROXY ")
    if line.startswith(b"PRI * HTTP/2"):
        return "HTTP/2 is not spoken here: HAProxy: no proto h2 on the server line; nginx: proxy_http_version 1.1"
    if len(line.split()) > 3 and line.split()[-1].startswith(b"HTTP/1."):
        return "a space in the path: a proxy in front that decodes it? nginx: no $uri in proxy_pass"
    return ""


_PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n"


def speechCause(data: bytes) -> str:
    """
    Of a connection that speaks nothing that is served here; C{""} where nothing is known.

    @param data: its first bytes.
    """
    if data.startswith((b"PROXY ", _PROXY_V2)):
        cure = "HAProxy: no send-proxy on the server line; or --trusted-proxy proxy:CIDR"
        return f"the PROXY protocol is not awaited: {cure}"
    if data.startswith(b"\x16"):
        cure = "use http:// and ws://, also in a proxy in front, or give it a --cert"
        return f"TLS to a port without a certificate: {cure}"
    return ""


def announcementCause(why: str) -> str:
    """@param why: what is wrong with a connection that should begin with a header of the PROXY protocol."""
    cure = "HAProxy: send-proxy-v2 on the server line; nginx: proxy_protocol on, in stream"
    return f"{why} ({cure}; or no proxy: in --trusted-proxy)"


_HANDSHAKES = {
    "peer did not return a certificate": "it shows no certificate, which --verify-client asks for",
    "certificate verify failed": "its certificate is of no authority in --cafile, or out of its time",
    "unsupported protocol": "it is too old: --ssl-version",
    "no shared cipher": "it knows none of --ssl-ciphers",
    "no application protocol": "it does not speak http/1.1: a proxy in front that insists on HTTP/2?",
}

_DISTRUST = re.compile("alert (unknown ca|bad certificate|certificate (unknown|expired))$")
"""What a client says that does not accept ours (RFC 8446 section 6.2)."""


def handshakeCause(reason: str) -> str:
    """
    Of a TLS handshake that has failed; C{""} where nothing is known.

    @param reason: as OpenSSL has it.
    """
    if _DISTRUST.search(reason):
        return "it does not trust the certificate: is --cert the whole chain, and for the name that it asks for?"
    return _HANDSHAKES.get(reason, "")


def _tokens(headers: Headers, name: bytes) -> list[str]:
    """The elements of a comma-separated list, in lower case."""
    values = headers.getRawHeaders(name, ())
    return [token.strip().lower().decode("latin-1") for value in values for token in value.split(b",")]


def _shown(values: Sequence[bytes]) -> str:
    return escape(", ".join(value.decode("latin-1") for value in values), _SHOWN)
