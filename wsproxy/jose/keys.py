"""The keys that tokens are verified with, out of an operator's file or secret.

::

    PEM    a public or private key, or a certificate  ─┐
    JWK    one key as JSON                             ├─► TokenKey: what each algorithm is, for this key alone
    JWKS   {"keys": [ … ]}                             │
    else   a symmetric key                            ─┘

The algorithms follow from the type of the key, and of those a token may choose (RFC 8725 section 3.1): what L{isPublic}
is never the secret of an HMAC, and nothing is signed with C{none}.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from warnings import catch_warnings

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from wsproxy.errors import ConfigError
from wsproxy.jose.public import isPublic

__all__ = ["SHORTEST", "TokenKey", "parseKeys", "symmetricKey"]

SHORTEST = 32
"""Bytes of a symmetric key: those of the hash of HS256 (RFC 7518 section 3.2)."""

_RSA_BITS = 2048  # RFC 7518 section 3.3

_SIGNING = {
    "oct": ("HS256", "HS384", "HS512"),
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA", "Ed25519", "Ed448"),
}
_AGREEMENTS = ("ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW")
# Without PBES2, whose work the token chooses, and RSA1_5, which is an oracle (RFC 8725 section 3.2).
_ENCRYPTION = {
    "oct": ("dir", "A256KW", "A256GCMKW"),
    "RSA": ("RSA-OAEP", "RSA-OAEP-256"),
    "EC": _AGREEMENTS,
    "OKP": _AGREEMENTS,
}
_BASE64 = re.compile("[A-Za-z0-9+/_-]+={0,2}")
_LABEL = re.compile("-----BEGIN ([A-Z0-9 ]+)-----")
_PUBLIC = "a public key or a page, damaged perhaps, which is no secret"


@dataclass(frozen=True)
class TokenKey:
    """
    One key, and what it is good for.

    @ivar kid: which one it is, where its file says so.
    @ivar signing: by the names of their algorithms, what verifies a signature with it.
    @ivar encryption: the algorithms by which tokens may be encrypted to it; empty for a public key.
    """

    key: Key
    kid: str | None
    signing: Mapping[str, Any]
    encryption: tuple[str, ...]

    def __repr__(self) -> str:
        """Without the key."""
        return f"<TokenKey {self.key.key_type} {self.kid}>"

    @classmethod
    def make(cls, key: Key) -> TokenKey:
        """@raise ConfigError: it is too short."""
        _checkStrength(key)
        signing = {name: JWSRegistry.algorithms[name] for name in _SIGNING[key.key_type] if _signs(key, name)}
        encryption = tuple(name for name in _ENCRYPTION[key.key_type] if _decrypts(key, name))
        return cls(key, key.kid, signing, encryption)


def parseKeys(data: bytes) -> tuple[TokenKey, ...]:
    """
    @param data: what the file holds.
    @raise ConfigError: what is wrong with it; not which file it is.
    """
    try:
        with catch_warnings(action="ignore"):  # what joserfc warns of is refused here
            keys = tuple(TokenKey.make(key) for key in _read(data))
    except (JoseError, ValueError, KeyError, TypeError, AttributeError, UnsupportedAlgorithm):
        # nothing that they say is quoted: it may be the key
        raise ConfigError("neither a PEM, a JWK or a JWKS file that can be used, nor a symmetric key") from None
    good = tuple(each for each in keys if each.signing or each.encryption)
    if not good:
        raise ConfigError("no key in there verifies or decrypts tokens")
    return good


def symmetricKey(secret: bytes) -> TokenKey:
    """
    @param secret: the key itself.
    @raise ConfigError: it is too short, or no secret at all.
    """
    if isPublic(secret):
        raise ConfigError(_PUBLIC)
    try:
        with catch_warnings(action="ignore"):
            return TokenKey.make(OctKey.import_key(secret))
    except ValueError:  # of joserfc, for a public key
        raise ConfigError(_PUBLIC) from None


def _read(data: bytes) -> Iterator[Key]:
    text = data.decode("latin-1")
    label = _LABEL.search(text)
    if label is not None:
        yield _fromPEM(data, label[1])
    elif text.lstrip().startswith("{") and isPublic(data):
        yield from _fromJSON(json.loads(data))
    else:
        secret = _secretOf(data, text)
        if isPublic(data) or isPublic(secret):
            raise ConfigError(_PUBLIC)
        yield OctKey.import_key(secret)


def _fromPEM(data: bytes, label: str) -> Key:
    if label == "CERTIFICATE":
        native: Any = load_pem_x509_certificate(data).public_key()
    elif label.endswith("PRIVATE KEY"):
        native = load_pem_private_key(data, None)
    else:
        native = load_pem_public_key(data)
    if isinstance(native, (EllipticCurvePrivateKey, EllipticCurvePublicKey)):
        return ECKey(native, native)
    if isinstance(native, (RSAPrivateKey, RSAPublicKey)):
        return RSAKey(native, native)
    key = OKPKey(native, native)
    key.as_dict()  # raises for what is none
    return key


def _fromJSON(value: Any) -> Iterator[Key]:
    """Keys of types that nobody here knows are passed over (RFC 7517 section 5), unless they are all there is."""
    keys = value.get("keys", [value])
    known = [each for each in keys if each["kty"] in _SIGNING]
    if not known:
        raise ValueError
    for each in known:
        yield JWKRegistry.import_key(each)


def _secretOf(data: bytes, text: str) -> bytes:
    """What base64 says, with either alphabet, as websockify reads it; else the bytes as they are."""
    compact = "".join(text.strip().splitlines())
    if not _BASE64.fullmatch(compact):
        return data
    try:
        bare = compact.rstrip("=").translate({ord("+"): "-", ord("/"): "_"})
        return urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except binascii.Error:
        return data


def _checkStrength(key: Key) -> None:
    if isinstance(key, OctKey) and len(key.raw_value) < SHORTEST:
        raise ConfigError(f"a symmetric key of {len(key.raw_value)} bytes; {SHORTEST} are needed")
    if isinstance(key, RSAKey) and key.public_key.key_size < _RSA_BITS:
        raise ConfigError(f"an RSA key of {key.public_key.key_size} bits; {_RSA_BITS} are needed")


def _signs(key: Key, name: str) -> bool:
    try:
        JWSRegistry.algorithms[name].check_key(key)  # its type, its curve, and "use" and "alg" of a JWK
        key.check_key_op("verify")
    except JoseError:
        return False
    return name != "EdDSA" or key.get("crv") in ("Ed25519", "Ed448")


def _decrypts(key: Key, name: str) -> bool:
    try:
        key.check_use("enc")
        key.check_alg(name)
    except JoseError:
        return False
    if isinstance(key, OctKey):
        return name == "dir" or len(key.raw_value) == 32
    return key.is_private and (not isinstance(key, OKPKey) or key.get("crv") in ("X25519", "X448"))
