"""Where clients come in: the values of C{--listen} and the sockets they stand for.

    6080                   every address of this machine, IPv6 and IPv4 on one socket; 0: the kernel chooses
    192.0.2.1:6080         one address, or a name: all addresses that it has
    [::1]:6080             one IPv6 address; C{[::]} is IPv6 alone
    unix:/path:mode=660    a socket file; the mode is optional and octal
    systemd:name=vnc       a socket that systemd has bound: L{wsproxy.endpoints.systemd}
    tcp6:6080:…            any other Twisted server endpoint string

A registered endpoint prefix wins over a host of that name.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, cast

from twisted.internet.defer import Deferred, execute, maybeDeferred
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
    serverFromString,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.internet.tcp import Port
from twisted.plugin import getPlugins
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.endpoints.hostport import parseHostPort
from wsproxy.endpoints.systemd import PassedEndpoint, parsePassed
from wsproxy.errors import ConfigError, WordsError
from wsproxy.escape import escape

__all__ = ["AT_ONCE", "BACKLOG", "Bindable", "Listen", "listenError", "parseListen"]

BACKLOG = 65535
"""Connections the kernel holds until we accept them; it cuts this to C{net.core.somaxconn} (listen(2))."""

AT_ONCE = 16
"""Connections that are accepted in one turn of the event loop: 2 ms, before sessions have theirs."""

_LONGEST_PATH = 107
"""Bytes of a socket file's path: unix(7)."""

_NO_HOST = re.compile(r"[/\s]")
_UNESCAPED_COLON = re.compile(r"(?<!\\):")

# these have no types in Twisted
_serverFromString: Callable[[Any, str], IStreamServerEndpoint] = serverFromString
_socketFile: Callable[[Any, str, int, int, int], IStreamServerEndpoint] = UNIXServerEndpoint
_cannotListen: Callable[[str | None, int, OSError], CannotListenError] = CannotListenError

_ATTEMPTS = 16
"""Free ports that are tried until one is free at each address of a name."""

_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL})


class Bindable(Protocol):
    """Where clients come in."""

    def bind(self, factory: IProtocolFactory) -> Deferred[list[IListeningPort]]:
        """
        Listen there.

        @return: fires with the ports; fails with L{ConfigError}.
        """


@dataclass(frozen=True)
class Listen:
    """One C{--listen} value, understood.

    @ivar text: the value, with a socket file's path made absolute.
    @ivar endpoint: what to listen on.
    @ivar port: the TCP port asked for (0: the kernel's choice); L{None} where the value names none.
    @ivar path: the absolute path of a socket file; L{None} for everything else.
    """

    text: str
    endpoint: IStreamServerEndpoint
    port: int | None = None
    path: str | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def isPlain(self) -> bool:
        """Whether what listens there does no more than to accept, so that others can do it as well."""
        return isinstance(self.endpoint, _PLAIN)

    def check(self) -> None:
        """@raise ConfigError: without trying it can be told that nobody can listen there."""
        if self.path is None:
            return
        folder = os.path.dirname(self.path)
        number = 0
        if len(os.fsencode(self.path)) > _LONGEST_PATH:
            number = errno.ENAMETOOLONG
        elif not os.path.isdir(folder):
            number = errno.ENOTDIR if os.path.exists(folder) else errno.ENOENT
        elif not os.access(folder, os.W_OK | os.X_OK):
            number = errno.EACCES
        if number:
            raise listenError(self, OSError(number, os.strerror(number)))

    def bind(self, factory: IProtocolFactory) -> Deferred[list[IListeningPort]]:
        """
        Listen there.

        @return: fires with the ports, several where a name has several addresses; fails with L{ConfigError}.
        """

        def failed(failure: Failure) -> NoReturn:
            error = cast(Exception, failure.value)
            raise listenError(self, error) from error

        bound: Deferred[list[IListeningPort]]
        if isinstance(self.endpoint, _TCPServerEndpoint):
            bound = execute(self.endpoint.listenEverywhere, factory)
        else:
            bound = maybeDeferred(self.endpoint.listen, factory).addCallback(lambda port: [port])
        return bound.addCallbacks(_unhurried, failed)


def _unhurried(ports: list[IListeningPort]) -> list[IListeningPort]:
    """
    Have ports of Twisted's, also those under another, accept L{AT_ONCE} connections at a time. They begin with a
    hundred, and take twenty more at each turn that finds as many.
    """
    for port in ports:
        if isinstance(port, Port):
            _restrain(port)
    return ports


def _restrain(port: Any) -> None:
    accept = port.doRead

    def doRead() -> None:
        port.numberAccepts = AT_ONCE
        accept()

    port.doRead = doRead


def parseListen(reactor: Any, text: str) -> Listen:
    """
    Understand one C{--listen} value. Names are not resolved, nor anything bound, before C{endpoint.listen}.

    @raise WordsError: C{text} is none of the forms above.
    """
    prefix, colon, rest = text.partition(":")
    try:
        if re.fullmatch("[0-9]+", text):
            port = _port(int(text))
            return Listen(text, _TCPServerEndpoint(reactor, None, port), port)
        if colon and prefix.lower() == "unix":
            return _parseUNIX(reactor, rest)
        if colon and prefix.lower() == "systemd":
            return Listen(text, parsePassed(reactor, _UNESCAPED_COLON.split(rest)))
        if colon and prefix.lower() in _registeredPrefixes():
            return _parseString(reactor, text)
        given = parseHostPort(text)
        if given is None or _NO_HOST.search(given.host):
            raise ValueError("expected PORT, HOST:PORT, [ADDRESS]:PORT, unix:PATH or an endpoint string")
        port = _port(given.port)
        return Listen(text, _TCPServerEndpoint(reactor, given.host, port), port)
    except Exception as error:
        # endpoint parsers, which may be anybody's plugin, complain with whatever exception came up
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WordsError(_complaint(text, reason)) from error


def listenError(listen: Listen, error: Exception) -> ConfigError:
    """Why C{listen.endpoint} could not listen, in one line: C{--listen 6080: address already in use}."""
    cause = error.socketError if isinstance(error, CannotListenError) else error
    reason = getattr(cause, "strerror", None) or str(cause)
    if reason[1:2].islower():  # a word, and no name: AF_UNIX path too long
        reason = reason[0].lower() + reason[1:]
    return ConfigError(_complaint(listen.text, reason))


def _complaint(text: str, reason: str) -> str:
    return f"--listen {escape(text, None)}: {reason}"


def _registeredPrefixes() -> set[str]:
    plugins = getPlugins(IStreamServerEndpointStringParser)
    return {"tcp", "ssl", *(plugin.prefix.lower() for plugin in plugins)}


def _port(port: int) -> int:
    if port > 65535:
        raise ValueError("a port is at most 65535")
    return port


def _parseUNIX(reactor: Any, rest: str) -> Listen:
    """C{PATH[:mode=OCTAL][:backlog=N][:lockfile=1]}, as in Twisted's own, with defaults that suit a proxy."""
    path, *options = _UNESCAPED_COLON.split(rest)
    path = re.sub(r"\\(.)", r"\1", path.removeprefix("address="))
    if not path:
        raise ValueError("expected unix:PATH")
    path = os.path.abspath(path)
    given = dict(option.partition("=")[::2] for option in options)
    mode = int(given.pop("mode", "660"), 8)
    backlog = int(given.pop("backlog", BACKLOG))
    lockfile = int(given.pop("lockfile", "0"))
    if given:
        raise ValueError(f"a socket file takes mode, backlog and lockfile, not {next(iter(given))!r}")
    escaped = path.replace("\\", r"\\").replace(":", r"\:")
    endpoint = _UNIXServerEndpoint(path, _socketFile(reactor, path, backlog, mode, lockfile))
    return Listen(":".join(["unix", escaped, *options]), endpoint, path=path)


def _parseString(reactor: Any, text: str) -> Listen:
    """An endpoint string for Twisted, whose TCP endpoints take a backlog of 50 unless told otherwise."""
    prefix, *arguments = _UNESCAPED_COLON.split(text)
    prefix = prefix.lower()
    port = None
    if prefix in ("tcp", "tcp6"):
        ports = [it.removeprefix("port=") for it in arguments if re.fullmatch("(port=)?[0-9]+", it)]
        port = _port(int(ports[0])) if ports else None
        if all("=" in it and not it.startswith("backlog=") for it in arguments[1:]):
            arguments.append(f"backlog={BACKLOG}")
    return Listen(text, _serverFromString(reactor, ":".join([prefix, *arguments])), port)


@implementer(IStreamServerEndpoint)
class _TCPServerEndpoint:
    """
    A TCP port on one address, or on all of them through one socket that takes IPv6 and IPv4.

    Twisted's own endpoints leave C{IPV6_V6ONLY} to a sysctl, and report a port that was taken between bind(2)
    and listen(2) as a bare L{OSError}.

    @param host: an address or a name; L{None} for every address.
    """

    def __init__(self, reactor: Any, host: str | None, port: int) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """At the first of its addresses."""
        return execute(lambda: self._adopt(self._sockets()[:1], protocolFactory)[0])

    def listenEverywhere(self, factory: IProtocolFactory) -> list[IListeningPort]:
        """
        At all of its addresses, on one port.

        @raise CannotListenError: at one of them, or at all, it is not possible.
        """
        return self._adopt(self._sockets(), factory)

    def _adopt(self, listeners: list[socket.socket], factory: IProtocolFactory) -> list[IListeningPort]:
        # a port takes a duplicate of the descriptor
        try:
            return [self._reactor.adoptStreamPort(each.fileno(), each.family, factory) for each in listeners]
        finally:
            for each in listeners:
                each.close()

    def _sockets(self) -> list[socket.socket]:
        try:
            return [self._everywhere()] if self._host is None else self._at(self._host)
        except OSError as error:
            raise _cannotListen(self._host, self._port, error) from error

    def _everywhere(self) -> socket.socket:
        try:
            return _listening(socket.AF_INET6, ("::", self._port), v6only=False)
        except OSError as error:
            # a port that is held on the IPv4 side alone is EADDRINUSE, and not shared
            if error.errno not in _NO_IPV6:
                raise
            return _listening(socket.AF_INET, ("0.0.0.0", self._port))

    def _at(self, host: str) -> list[socket.socket]:
        # Blocking, because a privileged port is bound before the reactor runs. IPv4 first, and each once.
        found = socket.getaddrinfo(host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
        return _listeningAll(sorted(addresses, key=lambda each: each[0] != socket.AF_INET))


def _listeningAll(addresses: list[tuple[int, Any]]) -> list[socket.socket]:
    """
    @param addresses: families and addresses of a name, all with one port; 0: a free one.
    @raise OSError: an address cannot be had. That this machine has no IPv6 is told of no name that has IPv4, too.
    """
    for _ in range(_ATTEMPTS):
        listeners: list[socket.socket] = []
        try:
            for family, address in addresses:
                host, port, *scope = address
                port = port or (listeners[0].getsockname()[1] if listeners else 0)
                try:
                    listeners.append(_listening(family, (host, port, *scope)))
                except OSError as error:
                    if not (listeners and family == socket.AF_INET6 and error.errno in _NO_IPV6):
                        raise
            return listeners
        except OSError as error:
            for each in listeners:
                each.close()
            if error.errno != errno.EADDRINUSE or addresses[0][1][1] or not listeners:
                raise
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _listening(family: int, address: Any, v6only: bool = True) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


@implementer(IStreamServerEndpoint)
class _UNIXServerEndpoint:
    """
    A socket file, which replaces one that a dead process left behind.

    Whether it is dead is asked of the socket. Twisted's lock file goes by the process id in it, which in a
    container is the same one after every restart.
    """

    def __init__(self, path: str, endpoint: IStreamServerEndpoint) -> None:
        self._path = path
        self._endpoint = endpoint

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        if _isStale(self._path):
            with suppress(OSError):  # bind(2) has the last word
                os.unlink(self._path)
        return self._endpoint.listen(protocolFactory)


def _isStale(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False  # connect(2) would say ECONNREFUSED of an ordinary file, too
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False  # there is none, or it is busy, or not for us to tell
    return False


_PLAIN = (
    _TCPServerEndpoint,
    _UNIXServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
    AdoptedStreamServerEndpoint,
    PassedEndpoint,
)
"""Endpoints whose ports hand connections to nobody in between."""
