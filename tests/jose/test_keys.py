"""Which keys a file holds, and what each is good for."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode, urlsafe_b64encode

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey, OctKey, RSAKey
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import pem, selfSigned
from tests.jose.tokens import ecKey, edKey, private, public, rsaKey
from wsproxy.errors import ConfigError
from wsproxy.jose.keys import parseKeys, symmetricKey

SECRET = bytes(range(100, 140))


def algorithms(data: bytes) -> set[str]:
    return {name for key in parseKeys(data) for name in key.signing}


class AlgorithmsTests(SynchronousTestCase):
    def test_byType(self) -> None:
        """The type of the key says which signatures it is for, and no two types share one."""
        RS = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
        self.assertEqual(algorithms(public(rsaKey)), RS)
        self.assertEqual(algorithms(public(ecKey)), {"ES256"})
        self.assertEqual(algorithms(public(ec.generate_private_key(ec.SECP384R1()))), {"ES384"})
        self.assertEqual(algorithms(public(ec.generate_private_key(ec.SECP521R1()))), {"ES512"})
        self.assertEqual(algorithms(public(edKey)), {"EdDSA", "Ed25519"})
        self.assertEqual(algorithms(public(ed448.Ed448PrivateKey.generate())), {"EdDSA", "Ed448"})
        self.assertEqual(algorithms(SECRET), {"HS256", "HS384", "HS512"})

    def test_encryption(self) -> None:
        """Only who has a private key or a secret decrypts, and with no algorithm whose work the token chooses."""
        self.assertEqual(parseKeys(public(rsaKey))[0].encryption, ())
        self.assertEqual(parseKeys(private(rsaKey))[0].encryption, ("RSA-OAEP", "RSA-OAEP-256"))
        self.assertIn("ECDH-ES", parseKeys(private(ecKey))[0].encryption)
        self.assertEqual(parseKeys(private(x25519.X25519PrivateKey.generate()))[0].signing, {})
        self.assertEqual(parseKeys(b"\xff" * 32)[0].encryption, ("dir", "A256KW", "A256GCMKW"))
        self.assertEqual(parseKeys(SECRET)[0].encryption, ("dir",))

    def test_whatAJWKSays(self) -> None:
        """A JWK may restrict what its key is for."""
        key = RSAKey.import_key(private(rsaKey))
        only = json.dumps(key.as_dict(alg="RS256", use="sig")).encode()
        self.assertEqual(algorithms(only), {"RS256"})
        self.assertEqual(parseKeys(only)[0].encryption, ())
        encryption = json.dumps(key.as_dict(private=True, use="enc")).encode()
        self.assertEqual(algorithms(encryption), set())


class FilesTests(SynchronousTestCase):
    def test_certificate(self) -> None:
        """A certificate stands for its key."""
        self.assertTrue(algorithms(pem(selfSigned("localhost").certificate)))

    def test_set(self) -> None:
        """A set has several keys by their names; what is of an unknown type, or of no use here, is passed over."""
        ours = ECKey.import_key(public(ecKey)).as_dict(kid="ours", use="sig")
        foreign = {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}
        useless = RSAKey.import_key(public(rsaKey)).as_dict(kid="theirs", use="enc")
        keys = parseKeys(json.dumps({"keys": [foreign, ours, useless]}).encode())
        self.assertEqual([key.kid for key in keys], ["ours"])

    def test_symmetric(self) -> None:
        """A symmetric key is base64 text in either alphabet, padded and wrapped or not; else the bytes as they are."""
        data = b"\xfb\xff" * 20
        for text in (urlsafe_b64encode(data), urlsafe_b64encode(data).rstrip(b"=") + b"\n", b64encode(data)):
            self.assertEqual(parseKeys(text)[0].key.raw_value, data)
        words = b"several words with blanks between them\n"
        self.assertEqual(parseKeys(words)[0].key.raw_value, words)
        key = OctKey.import_key(data).as_dict(kid="k")
        self.assertEqual(parseKeys(json.dumps(key).encode())[0].key.raw_value, data)

    def test_short(self) -> None:
        """31 bytes, be they written in 42 characters, and RSA of 1024 bits, are refused."""
        for data, words in (
            (b"\xff" * 31, "31 bytes"),
            (urlsafe_b64encode(b"\xff" * 31), "31 bytes"),
            (public(rsa.generate_private_key(65537, 1024)), "1024 bits"),
        ):
            error = self.assertRaises(ConfigError, parseKeys, data)
            self.assertIn(words, str(error))

    def test_useless(self) -> None:
        """What is no key is refused, and never quoted; a public key is never a secret."""
        der = ecKey.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        broken = public(ecKey).replace(b"M", b"?")
        dsaKey = public(dsa.generate_private_key(2048))
        curve = public(ec.generate_private_key(ec.SECP224R1()))
        for data in (b"", der, broken, dsaKey, curve, b"{", b"{}", b'{"keys": []}', b'{"kty": "oct", "k": 5}', b"[1]"):
            error = self.assertRaises(ConfigError, parseKeys, data)
            self.assertNotIn("?", str(error))

    def test_damaged(self) -> None:
        """What was a public key, or the page of who should have served one, is never a secret, nor is it in base64."""
        subject = rsaKey.public_key()
        label = public(rsaKey)
        jwk = json.dumps(RSAKey.import_key(label).as_dict(kid="one")).encode()
        page = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>caf\xe9</body>\r\n</html>\r\n"
        ssh = subject.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        wrong = [
            *(label[20:], label[25:], label[:-20], label[:300], label.replace(b"-----BEGIN", b"----BEGIN")),
            *(label.decode().encode("utf-16"), label.decode().encode("utf-16-be")),
            *(
                page,
                b"\n\n" + page,
                b"HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\n\r\nBad Gateway",
                page.decode("latin-1").encode(),
            ),
            *(
                b"[" + jwk + b"]",
                b"\xef\xbb\xbf" + jwk,
                jwk.decode().encode("utf-16"),
                json.dumps(jwk.decode()).encode(),
            ),
            *(b"callback(" + jwk + b")", b"// keys\n" + jwk, jwk[:80], jwk[20:], gzip.compress(jwk)),
            *(ssh, subject.public_bytes(Encoding.DER, PublicFormat.PKCS1)),
            subject.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            edKey.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            selfSigned("localhost").certificate.public_bytes(Encoding.DER),
        ]
        for data in wrong:
            self.assertRaises(ConfigError, parseKeys, data)
            self.assertRaises(ConfigError, parseKeys, b64encode(data))
            self.assertRaises(ConfigError, symmetricKey, data)
        for text in (b"".join(label.splitlines()[1:-1]), ssh.split()[1]):
            self.assertRaises(ConfigError, parseKeys, text)

    def test_random(self) -> None:
        """Random bytes are a key as they are, whatever they begin with."""
        for first in (b"{", b"[", b"<", b'"', b"0", b"\xff\xfe", b"\x1f\x8b"):
            data = first + bytes(range(0x81, 0xA1))
            self.assertEqual(parseKeys(data)[0].key.raw_value, data)

    def test_secret(self) -> None:
        """A link's key is the secret as it is; a public key is none."""
        self.assertEqual(symmetricKey(b"a" * 64).key.raw_value, b"a" * 64)
        self.assertRaises(ConfigError, symmetricKey, b"a" * 31)
        self.assertRaises(ConfigError, symmetricKey, public(rsaKey))

    def test_unshown(self) -> None:
        """A key does not show in a representation."""
        self.assertEqual(repr(symmetricKey(b"secret" * 10)), "<TokenKey oct None>")
