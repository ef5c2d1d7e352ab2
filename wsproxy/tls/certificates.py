"""What the operator's certificate, key and CA files hold, checked to belong together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from wsproxy.config import TLSConfig
from wsproxy.errors import ConfigError
from wsproxy.tls.pem import CLIENTS, readCertificates, readPEM

__all__ = ["Credentials"]

EXPIRY_NOTICE = timedelta(days=14)


@dataclass(frozen=True)
class Credentials:
    """
    @ivar chain: the server's own certificate, then the intermediate ones.
    @ivar authorities: who may sign a client's certificate; empty where none is asked for.
    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes
    authorities: tuple[x509.Certificate, ...] = ()

    @classmethod
    def load(cls, config: TLSConfig) -> Credentials:
        """
        Read the files C{config} names.

        @raise ConfigError: one line naming the option and the file that will not do.
        """
        chain = readCertificates("--cert", config.certificate)
        keyOption, keyFile = ("--cert", config.certificate) if config.key is None else ("--key", config.key)
        key = _readKey(keyOption, keyFile, config.password)
        try:
            matches = chain[0].public_key() == key.public_key()
        except (UnsupportedAlgorithm, ValueError):
            raise ConfigError(f"--cert {config.certificate}: its key is of no known kind") from None
        if not matches:
            raise ConfigError(
                f"{keyOption} {keyFile}: the key does not match the first certificate in {config.certificate}"
            )
        authorities: tuple[x509.Certificate, ...] = ()
        if config.verifyClient:
            if config.authorities is None:
                raise ConfigError("--verify-client: needs --cafile, the authorities of the clients")
            authorities = readCertificates("--cafile", config.authorities, CLIENTS)
        return cls(chain, key, authorities)

    def problems(self, now: datetime) -> Iterator[str]:
        """
        @param now: an aware time.
        @return: a line for each certificate of the chain that is out of its time, or will be in two weeks.
        """
        for certificate in self.chain:
            name = certificate.subject.rfc4514_string()
            begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
            if end <= now:
                yield f"the certificate of {name} expired at {end:%Y-%m-%d %H:%M} UTC"
            elif now < begin:
                yield f"the certificate of {name} is not valid before {begin:%Y-%m-%d %H:%M} UTC"
            elif end - now < EXPIRY_NOTICE:
                yield f"the certificate of {name} expires at {end:%Y-%m-%d %H:%M} UTC"


def _readKey(option: str, path: str, password: str | None) -> PrivateKeyTypes:
    """The first private key in the file. A password for a key that has none is passed over."""
    pem = readPEM(option, path)
    if b"PRIVATE KEY-----" not in pem:
        raise ConfigError(f"{option} {path}: no private key in this file")
    problem = "the private key is malformed"
    try:
        try:
            return load_pem_private_key(pem, None)
        except TypeError:  # it is encrypted
            if not password:
                raise ConfigError(f"{option} {path}: the key is encrypted and needs --key-password") from None
            problem = "--key-password does not open the key"
            return load_pem_private_key(pem, password.encode())
    except ValueError:
        raise ConfigError(f"{option} {path}: {problem}") from None
    except UnsupportedAlgorithm:
        raise ConfigError(f"{option} {path}: the private key is of no known kind") from None
