"""The nodes that share one Redis: what their keys are called, and what stands in them instead of a secret.

::

    --cluster redis://HOST[:PORT][/DB][?prefix=NAME][&key=SECRET]

    wsproxy:NAME:once:2c26b46b68ffc68f…       keys have a lifetime, each of them

Whoever reads Redis, or a copy of it, is to learn no token and no name: they stand there as HMAC-SHA256 under the
cluster's key, or sealed with it. That is C{key}, else made of the password; without either, guesses can be tried out on
what is there, and the seal is none.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from wsproxy.cluster.address import Address, parseURL
from wsproxy.cluster.redis import Redis, connect
from wsproxy.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["OPTION", "Cluster", "checkCluster", "hiding", "joinCluster"]

OPTION = "--cluster"

_NONCE = 12

_PREFIX = re.compile("[A-Za-z0-9._-]{1,64}")


class Cluster:
    """
    @param key: those of its nodes have in common, and nobody else.
    @ivar redis: not asked anything yet.
    """

    def __init__(self, redis: Redis, prefix: str, key: bytes) -> None:
        self.redis = redis
        self._prefix = prefix
        self._key = key

    def key(self, *names: str) -> str:
        """@param names: what it is about; no secret is among them but as L{hidden} has it."""
        return ":".join(("wsproxy", self._prefix, *names))

    def hidden(self, secret: str | bytes) -> str:
        """@return: what stands in Redis for a token, or for who somebody is: 64 hexadecimal digits."""
        return _hidden(self._key, secret)

    def seal(self, text: bytes, about: bytes) -> bytes:
        """
        @param about: what it belongs to; L{unseal} has to be told the same.
        @return: what only nodes can read: AES-256-GCM (NIST SP 800-38D) with a random nonce, 28 bytes longer.
        """
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, text, about)

    def unseal(self, sealed: bytes, about: bytes) -> bytes:
        """@raise ValueError: that was not sealed by one of ours, or not for this."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], about)
        except InvalidTag:
            raise ValueError("not of this cluster") from None

    @cached_property
    def _cipher(self) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # late: 20 ms, for some

        return AESGCM(hmac.digest(self._key, b"wsproxy seal", "sha256"))


def checkCluster(url: str) -> bool:
    """
    @return: whether it has a key that nobody knows.
    @raise ConfigError: there can be no such cluster.
    """
    return _parse(url)[2] is not None


def hiding(url: str) -> Callable[[str | bytes], str]:
    """
    @return: L{Cluster.hidden}, for a process that does not speak to Redis itself.
    @raise ConfigError: there can be no such cluster.
    """
    return partial(_hidden, _parse(url)[2] or b"")


def _hidden(key: bytes, secret: str | bytes) -> str:
    text = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    return hmac.digest(key, text, "sha256").hex()


def joinCluster(reactor: Any, url: str, looking: float | None = None) -> Cluster:
    """
    Nothing is connected yet.

    @param looking: see L{connect<wsproxy.cluster.redis.connect>}.
    @raise ConfigError: there can be no such cluster, or txredisapi is not installed.
    """
    address, prefix, key = _parse(url)
    return Cluster(connect(reactor, address, OPTION, looking), prefix, key or b"")


def _parse(url: str) -> tuple[Address, str, bytes | None]:
    address, parameters = parseURL(OPTION, url, ("prefix", "key"))
    prefix = parameters.get("prefix", "main")
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError(f"{OPTION}: a prefix has letters, digits, dots and dashes, 64 at most")
    secret = parameters.get("key") or address.password
    if secret is None:
        return address, prefix, None
    return address, prefix, hmac.digest(secret.encode(), b"wsproxy cluster", "sha256")
