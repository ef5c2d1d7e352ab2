"""Tokens that say themselves where they lead: C{JWTTokenApi}, with the key they are signed with for its source.

::

    --token-plugin JWTTokenApi --token-source FILE      PEM, JWK, JWKS, or a symmetric key: see L{wsproxy.jose.keys}

Claims: C{host} and C{port} as in the original, or C{target}; C{nbf} and C{exp}. Signed tokens, and signed ones within
encrypted ones. The file is looked at for each token; a key that is changed there serves the next one.
"""

from __future__ import annotations

from wsproxy.access.secrets import shown
from wsproxy.errors import ConfigError
from wsproxy.interfaces import Target
from wsproxy.jose.claims import TokenError, targetOf, timeOf
from wsproxy.jose.keyfile import KeyFile
from wsproxy.jose.verifier import Verifier
from wsproxy.tokens.location import notAccepted
from wsproxy.tokens.targets import asTarget

__all__ = ["JWTTokenApi"]


class JWTTokenApi:
    """
    A L{TokenSource<wsproxy.tokens.resolver.TokenSource>}.

    @param source: the file of the key, or of the keys.
    @param audience: who a token must be for, if anybody.
    @param issuer: whom it must be from, if anybody.
    @raise ConfigError: there is no such file, or no key in it that can be used.
    """

    def __init__(self, source: str, audience: str | None = None, issuer: str | None = None) -> None:
        self._verifier = Verifier(KeyFile("--token-source", source).keys, audience, issuer)

    def lookup(self, token: str) -> Target:
        try:
            claims = self._verifier.verify(token)
            target = asTarget(targetOf(claims))
            return Target(target.text, timeOf(claims, "exp"), claims, target.proxyHeader, target.sockets)
        except (TokenError, ConfigError) as error:
            raise notAccepted(f"token {shown(token)}: {error}") from None
