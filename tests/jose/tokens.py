"""Keys and tokens for tests, made by the libraries of others: PyJWT where it can, joserfc where that cannot."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc import jwe, jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

__all__ = ["NOW", "ecKey", "edKey", "encrypted", "private", "public", "rsaKey", "segment", "signed", "unsigned"]

NOW = 1_790_000_000.0

ecKey = ec.generate_private_key(ec.SECP256R1())
edKey = ed25519.Ed25519PrivateKey.generate()
rsaKey = rsa.generate_private_key(65537, 2048)


def private(key: Any) -> bytes:
    """In PEM."""
    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return data


def public(key: Any) -> bytes:
    """In PEM."""
    data: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return data


def segment(value: Any) -> str:
    """A part of a token: JSON, or the text or bytes that stand for it."""
    if not isinstance(value, (str, bytes)):
        value = json.dumps(value)
    data = value.encode() if isinstance(value, str) else value
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims: Mapping[str, Any], key: bytes, alg: str = "HS256", **header: Any) -> str:
    """
    @param key: the secret itself, or a private key in PEM.
    """
    kind: Any = {"H": OctKey, "E": ECKey, "R": RSAKey, "P": RSAKey}[alg[0]]
    return jwt.encode({"alg": alg, **header}, dict(claims), kind.import_key(key), [alg])


def signedText(payload: str, secret: bytes, header: Mapping[str, Any] | None = None) -> str:
    """What nobody's library would make: this text, signed with HS256."""
    import hashlib
    import hmac

    text = f"{segment(header or {'alg': 'HS256'})}.{segment(payload)}"
    return f"{text}.{segment(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def unsigned(claims: Mapping[str, Any], alg: str = "none") -> str:
    return f"{segment({'alg': alg})}.{segment(claims)}."


def encrypted(text: str, key: Any, alg: str, enc: str = "A128CBC-HS256", **header: Any) -> str:
    """
    @param key: of joserfc.
    """
    algorithms = [alg, enc, *filter(None, [header.get("zip")])]
    return jwe.encrypt_compact({"alg": alg, "enc": enc, **header}, text, key, algorithms)
