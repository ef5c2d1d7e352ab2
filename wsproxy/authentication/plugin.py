"""C{--auth-plugin} and C{--auth}: the one authenticator that the settings name.

::

    BasicHTTPAuth, HtpasswdAuth, ClientCertCNAuth, --auth      asked first
    package.module.Class     authenticate(request)             asked first
                             authenticate(headers=, …)         asked after the lookup: it stands before the resolver

ExpectOrigin is the origin policy, and none of these.
"""

from __future__ import annotations

from typing import Any

from wsproxy.authentication.basic import BasicAuthenticator, Passwords
from wsproxy.authentication.certificate import CertificateAuthenticator
from wsproxy.authentication.checker import CheckedPasswords
from wsproxy.authentication.hashing import HashedPasswords
from wsproxy.authentication.htpasswd import HtpasswdFile
from wsproxy.config import AuthenticationConfig
from wsproxy.errors import ConfigError
from wsproxy.escape import escape
from wsproxy.interfaces import AnyAuthenticator, AnyResolver, IAuthenticator
from wsproxy.plugins.load import load, takesTarget
from wsproxy.plugins.oldauth import OldAuth

__all__ = ["makeAuthenticator"]

_OPTION = "--auth-plugin"


def makeAuthenticator(
    config: AuthenticationConfig, reactor: Any, resolver: AnyResolver, *, tokens: bool
) -> tuple[AnyAuthenticator | None, AnyResolver]:
    """
    @param resolver: where requests lead.
    @param tokens: whether a token says so.
    @return: who is asked, if anybody; and C{resolver}, or what is to be asked in its place.
    @raise ConfigError: there is no such plugin, or it cannot be made of its source.
    """
    if config.checker is not None:
        return BasicAuthenticator(CheckedPasswords(config.checker)), resolver
    if config.plugin is None:
        return None, resolver
    ours = {
        "BasicHTTPAuth": lambda source: BasicAuthenticator(Passwords(source)),
        "HtpasswdAuth": lambda source: BasicAuthenticator(HashedPasswords(HtpasswdFile(source), reactor)),
        "ExpectOrigin": _expectOrigin,
        "ClientCertCNAuth": CertificateAuthenticator,
    }
    plugin = load(config.plugin, ours, _OPTION)(config.source)
    name = f"{_OPTION} {escape(config.plugin)}"
    method = getattr(plugin, "authenticate", None)
    if not callable(method or plugin):
        raise ConfigError(f"{name}: has no method authenticate()")
    if IAuthenticator.providedBy(plugin) or method is None or not takesTarget(method):
        return plugin, resolver
    old = OldAuth(plugin, name, reactor, resolver, tokens=tokens)
    return old, old


def _expectOrigin(source: str) -> Any:
    raise ConfigError(f"{_OPTION} ExpectOrigin: is what a policy of origins does (origins=, originRequired=)")
