"""What a file of keys may hold by mistake, and everybody knows: no secret for an HMAC, whatever its length.

A public key is fetched, copied and edited, and arrives as a web server's error page, with a byte order mark, as UTF-16,
cut, or bare of its label. Whoever took that for the bytes of a symmetric key would accept the tokens of anybody who
knows it (CVE-2022-29217, CVE-2024-33663). Random bytes look like none of it: of a million raw keys of 32 bytes, the
rules below refuse about a hundred.
"""

from __future__ import annotations

import re

__all__ = ["isPublic"]

_ANYWHERE = re.compile(
    rb"-----?"  # of a label, be it cut
    rb"|PUBLIC KEY|CERTIFICATE"
    rb'|"(?:kty|keys|x5c)"'
    rb"|<(?:!doctype|html|head|body|\?xml)",
    re.IGNORECASE,
)
_FIRST = re.compile(
    rb"\xef\xbb\xbf"  # the mark of UTF-8
    rb"|\x1f\x8b\x08"  # gzip
    rb"|HTTP/\d"
    rb"|(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9-]+(?:@openssh\.com)? "
    rb"|\0\0\0.(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-"  # OpenSSH's, out of its base64
    # DER: a sequence which begins with an algorithm, a certificate's version, an RSA modulus or the version of a key
    rb"|0(?:[\0-\x7f]|\x81.|\x82..)(?:0[\0-\x7f]\x06|0(?:\x81.|\x82..)\xa0|\x02(?:\x81.|\x82..)|\x02\x01[\0-\3])",
    re.DOTALL,
)
_MARKUP = (b"{", b"[", b'"', b"<")


def isPublic(data: bytes) -> bool:
    """Whether that looks like a key, a certificate or a page that others know: PEM, DER, OpenSSH, JSON or HTML."""
    text = data.replace(b"\0", b"")  # UTF-16 and UTF-32 are mostly that
    if len(text) * 3 < len(data) * 2 and data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return True
    if _FIRST.match(data) or _ANYWHERE.search(text):
        return True
    return text.lstrip().startswith(_MARKUP) and _isText(text)


def _isText(data: bytes) -> bool:
    """Whether it is UTF-8, or mostly of ASCII; a third of random bytes are."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return sum(byte in b"\t\n\r" or 0x20 <= byte < 0x7F for byte in data) * 5 >= len(data) * 3
    return True
