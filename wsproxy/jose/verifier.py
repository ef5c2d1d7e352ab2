"""Whether a token holds: from its text to its claims.

::

    header.payload.signature ──────────────────────────────► the signature ─► claims ─► times, audience, issuer
    header.key.iv.ciphertext.tag ─► decrypted, once ─► its plaintext ┘

An encrypted token has a signed one in it (RFC 7519 section 11.2), never another encrypted one, and is not compressed:
what comes out of it is no larger than what went in.
"""

from __future__ import annotations

import binascii
import json
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any

from joserfc.jwe import JWERegistry, decrypt_compact
from joserfc.jws import JWSRegistry, extract_compact
from joserfc.util import urlsafe_b64decode
from twisted.logger import Logger

from wsproxy.jose.claims import Claims, TokenError, checkTimes, isFor
from wsproxy.jose.keys import TokenKey

__all__ = ["LONGEST", "Verifier"]

LONGEST = 8192
"""Characters of a token."""

_REMEMBERED = 256
"""Tokens that have held, by their hashes: 2 MiB at most. Strangers have none."""

_ENCODINGS = ("A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A128GCM", "A192GCM", "A256GCM")


class _Signed(JWSRegistry):
    max_header_length = 4096  # a certificate chain may be in there, which nobody reads


_signed = _Signed(strict_check_header=False)


class Verifier:
    """
    @param keys: those there are now; asked for each token.
    @param audience: who a token must be for; by default, for anybody.
    @param issuer: whom it must be from; by default, from anybody who has the key.
    @param now: the time of day, in seconds since the epoch.
    """

    _log = Logger()

    def __init__(
        self,
        keys: Callable[[], Sequence[TokenKey]],
        audience: str | None = None,
        issuer: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._audience = audience
        self._issuer = issuer
        self._now = now
        self._ignored: set[str] = set()
        self._held: dict[bytes, bytes] = {}
        self._heldBy: tuple[TokenKey, ...] = ()

    def verify(self, token: str) -> Claims:
        """
        @return: what it says.
        @raise TokenError: it does not hold.
        """
        claims = self._read(token)
        checkTimes(claims, self._now())
        self._demand(claims, "aud", "--token-audience", self._audience, isFor)
        self._demand(claims, "iss", "--token-issuer", self._issuer, _isFrom)
        return claims

    def _read(self, token: str) -> Claims:
        if len(token) > LONGEST:
            raise TokenError(f"longer than {LONGEST} characters")
        try:
            return _parse(self._payload(token.encode("ascii")))
        except TokenError:
            raise
        except binascii.Error:
            raise TokenError("malformed (base64)") from None
        except Exception as error:  # a stranger's bytes find whatever a library has not thought of
            raise TokenError(f"malformed ({type(error).__name__})") from None

    def _payload(self, data: bytes) -> bytes:
        """
        What it says, if nobody but who has a key can have said so. That is remembered for a while: a page comes with
        dozens of files, and its browser comes again.
        """
        keys = tuple(self._keys())
        if keys != self._heldBy:
            self._heldBy = keys
            self._held.clear()
        digest = sha256(data).digest()
        payload = self._held.get(digest)
        if payload is None:
            signed = _decrypted(data, keys) if data.count(b".") == 4 else data
            payload = _verified(signed, keys)
            if len(self._held) >= _REMEMBERED:
                self._held.clear()
            self._held[digest] = payload
        return payload

    def _demand(
        self, claims: Claims, name: str, option: str, wanted: str | None, isMet: Callable[[Claims, str], bool]
    ) -> None:
        if wanted is not None:
            if not isMet(claims, wanted):
                raise TokenError(f"another {name} than {option}")
        elif name in claims and name not in self._ignored:
            self._ignored.add(name)
            self._log.warn("tokens have {name}, which nobody demands: {option}", name=name, option=option)


def _decrypted(data: bytes, keys: Sequence[TokenKey]) -> bytes:
    kid, name = _headerOf(data)
    for each in _candidates(keys, kid):
        if name in each.encryption:
            registry = JWERegistry(algorithms=(name, *_ENCODINGS), strict_check_header=False)
            plaintext = decrypt_compact(data, each.key, registry=registry).plaintext
            if plaintext is None or plaintext.count(b".") != 2:
                raise TokenError("encrypted, but nothing signed is in it")
            return plaintext
    raise TokenError("encrypted in a way, or for a key, that is not ours")


def _verified(data: bytes, keys: Sequence[TokenKey]) -> bytes:
    """@return: what was signed."""
    signed = extract_compact(data, registry=_signed)
    header = signed.headers()
    _signed.check_header(header)
    if "b64" in header:  # RFC 7797 section 7
        raise TokenError("malformed (b64)")
    signature = urlsafe_b64decode(signed.segments["signature"])
    text, _, _ = data.rpartition(b".")
    name, tried = header["alg"], False
    for each in _candidates(keys, header.get("kid")):
        algorithm = each.signing.get(name)
        if algorithm is not None:
            tried = True
            if algorithm.verify(text, signature, each.key):
                return signed.payload
    raise TokenError("wrong signature" if tried else "signed in a way, or with a key, that is not ours")


def _candidates(keys: Sequence[TokenKey], kid: object) -> Iterator[TokenKey]:
    """A key that has a name is meant by that, or by tokens that name none (RFC 7515 section 4.1.4)."""
    for each in keys:
        if kid is None or each.kid is None or each.kid == kid:
            yield each


def _headerOf(data: bytes) -> tuple[object, str]:
    """@return: of an encrypted token, which key it is for, and the algorithm."""
    header = json.loads(urlsafe_b64decode(data[: data.index(b".")]))
    if "zip" in header:
        raise TokenError("compressed")  # RFC 8725 section 3.6
    return header.get("kid"), header["alg"]


def _isFrom(claims: Claims, issuer: str) -> bool:
    return bool(claims.get("iss") == issuer)


def _parse(payload: bytes) -> dict[str, Any]:
    claims = _decoder.decode(payload.decode())
    if not isinstance(claims, dict):
        raise TokenError("malformed (no object)")
    return claims


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values of a claim, others might believe the other one (RFC 7519 section 4)."""
    claims = dict(pairs)
    if len(claims) != len(pairs):
        raise TokenError("a claim twice")
    return claims


def _refuse(name: str) -> None:
    raise TokenError(f"malformed ({name})")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)
"""One for all: to make it takes longer than what it does."""
