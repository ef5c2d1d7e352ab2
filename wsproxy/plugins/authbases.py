"""What old classes know as C{websockify.auth_plugins}: bases to derive from, and errors to raise.

They are asked in a thread, C{authenticate(headers=…, target_host=…, target_port=…)}, and refuse by raising
L{AuthenticationError}. The proxy's own plugins of these names are elsewhere (L{wsproxy.authentication}).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from wsproxy.plugins.credentials import Malformed, basicCredentials, same

__all__ = [
    "AuthenticationError",
    "BasePlugin",
    "BasicHTTPAuth",
    "ClientCertCNAuth",
    "ExpectOrigin",
    "InvalidOriginError",
]


class AuthenticationError(Exception):
    """
    A client is not let in.

    @ivar code: the HTTP status.
    @ivar headers: of the response.
    @ivar msg: what the client reads.
    """

    def __init__(
        self,
        log_msg: str | None = None,
        response_code: int = 403,
        response_headers: Mapping[str, str] | None = None,
        response_msg: str | None = None,
    ) -> None:
        self.code = response_code
        self.headers = dict(response_headers or {})
        self.msg = response_msg
        super().__init__(f"{response_code} {response_msg if log_msg is None else log_msg}")


class InvalidOriginError(AuthenticationError):
    """A page of another origin than those that are expected."""

    def __init__(self, expected: Any, actual: Any) -> None:
        self.expected_origin = expected
        self.actual_origin = actual
        super().__init__(log_msg=f"Invalid Origin: {actual!r} is not one of {expected}", response_msg="Invalid Origin")


class BasePlugin:
    """Lets everybody in."""

    def __init__(self, src: str | None = None) -> None:
        self.source = src

    def authenticate(self, headers: Any, target_host: Any, target_port: Any) -> None:
        pass


class BasicHTTPAuth:
    """One user's name and password; or whoever L{validate_creds} says is one, where that is overridden."""

    def __init__(self, src: str | None = None) -> None:
        self.src = src

    def authenticate(self, headers: Any, target_host: Any, target_port: Any) -> None:
        sent = headers.get("Authorization")
        if not sent:
            self.demand_auth()
        try:
            user, password = basicCredentials(sent)
        except Malformed:
            self.auth_error()
        if not self.validate_creds(user, password):
            self.demand_auth()

    def validate_creds(self, username: str, password: str) -> bool:
        return same(f"{username}:{password}", self.src or "") and self.src is not None

    def auth_error(self) -> NoReturn:
        raise AuthenticationError(response_code=403)

    def demand_auth(self) -> NoReturn:
        raise AuthenticationError(response_code=401, response_headers={"WWW-Authenticate": 'Basic realm="Websockify"'})


class _Listed:
    """@param src: names with blanks between."""

    def __init__(self, src: str | None = None) -> None:
        self.source = (src or "").split()


class ExpectOrigin(_Listed):
    """Pages of these origins, and nobody without one."""

    def authenticate(self, headers: Any, target_host: Any, target_port: Any) -> None:
        origin = headers.get("Origin")
        if origin is None or origin not in self.source:
            raise InvalidOriginError(expected=self.source, actual=origin)


class ClientCertCNAuth(_Listed):
    """Certificates with one of these common names, which nobody but the TLS layer puts among the headers."""

    def authenticate(self, headers: Any, target_host: Any, target_port: Any) -> None:
        if headers.get("SSL_CLIENT_S_DN_CN") not in self.source:
            raise AuthenticationError(response_code=403)
