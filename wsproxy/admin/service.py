"""The admin side as a service: where it listens, and who may ask there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort, IOpenSSLServerConnectionCreator, IProtocolFactory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from wsproxy.access.peer import printable
from wsproxy.admin.crew import Crew, Heard
from wsproxy.admin.guard import Guard
from wsproxy.admin.history import EVERY, History
from wsproxy.admin.office import HEALTH, ROUTES, Office
from wsproxy.admin.site import AdminSite
from wsproxy.admin.visits import Visits
from wsproxy.config import AdminConfig
from wsproxy.endpoints.adopted import adoptPort
from wsproxy.endpoints.listen import Listen, parseListen
from wsproxy.errors import ConfigError
from wsproxy.fault import logFault

__all__ = ["AdminService", "checkAdmin", "checkPlaces"]

_TLS = ("ssl:", "tls:", "txacme:", "le:", "lets:")
"""Endpoints that speak TLS by themselves."""

_OPEN = "beyond loopback it needs TLS: --cert, or an ssl: endpoint"

_SETTLED_WITHIN = 1.0
"""Seconds for answers that are due; nobody takes longer than a tenth of one, but for Redis and slow clients."""


_VISITORS, _PROBES = 32, 16
"""Connections at a time, which take none of the descriptors that sessions have: a page of a browser has up to six."""


class AdminService(Service):
    """
    @param tls: what TCP speaks beyond loopback; L{None}: nothing, and it is not listened there.
    @param left: the L{state} of the code before this.
    @raise ConfigError: see L{checkAdmin}.
    """

    _log = Logger()

    def __init__(
        self,
        config: AdminConfig,
        reactor: Any,
        crew: Crew,
        office: Office,
        history: History,
        tls: IOpenSSLServerConnectionCreator | None,
        left: Mapping[str, Any] | None = None,
    ) -> None:
        checkAdmin(config, reactor, speaksTLS=tls is not None)
        guard = Guard(config.token, config.readToken, config.hosts, reactor.seconds)
        self._config = config
        self._reactor = reactor
        self._crew = crew
        self._history = history
        self._tls = tls
        self._sites = {
            "admin": Visits(reactor, AdminSite(reactor, office, ROUTES, guard), _VISITORS),
            "health": Visits(reactor, AdminSite(reactor, office, HEALTH, None), _PROBES),
        }
        self._left = {} if left is None else {name: dict(place) for name, place in left.items()}
        self._places: dict[str, tuple[Listen, Sequence[Any]]] = {}
        self._files: list[str] = []
        self._made: list[str] = []
        self._loop = LoopingCall(self._sample)
        self._loop.clock = reactor

    def privilegedStartService(self) -> None:
        """
        Bind, while the process may still bind anything.

        @raise ConfigError: that cannot be, or must not.
        """
        super().privilegedStartService()
        try:
            for name, text in self._wanted():
                self._listen(name, text)
        except ConfigError:
            self.forget()
            raise
        for left in self._left.values():
            _close((*left["ports"], *left["visits"]))

    def _wanted(self) -> list[tuple[str, str]]:
        config = self._config
        admin = [] if config.endpoint is None else [("admin", _private(config.endpoint))]
        return admin + ([] if config.health is None else [("health", config.health)])

    async def rehearse(self) -> None:
        """
        Listen where the code before this does not, for a moment.

        @raise ConfigError: that cannot be, or must not.
        """
        try:
            for name, text in self._wanted():
                left = self._left.get(name)
                if left is None or left["text"] != _parse(name, self._reactor, text).text:
                    self._listen(name, text)
        finally:
            await self._stopListening()

    def _listen(self, name: str, text: str) -> None:
        guarded = name == "admin"
        listen = _parse(name, self._reactor, text)
        site: IProtocolFactory = self._sites[name]
        secure = text.lower().startswith(_TLS)
        if guarded and self._tls is not None and listen.path is None and not secure and not _isNear(text):
            site = TLSMemoryBIOFactory(self._tls, False, site)
            secure = True
        ports = self._taken(name, listen, site)
        if not ports:
            ports = _now(listen.bind(site), name)
            self._made += filter(None, [listen.path])
        self._places[name] = (listen, ports)
        if guarded and not secure and not all(_isLocal(port.getHost()) for port in ports):
            raise ConfigError(f"--admin {text}: {_OPEN}")
        for port in ports:
            self._log.info("{name} at {where}", name=name.capitalize(), where=printable(port.getHost()))

    def _taken(self, name: str, listen: Listen, site: IProtocolFactory) -> Sequence[IListeningPort]:
        """@return: what the code before this has listened with; nothing where it has not, or elsewhere."""
        left = self._left.get(name)
        if left is None or left["text"] != listen.text or not listen.isPlain:
            return ()
        ports = [adoptPort(self._reactor, each, site) for each in left["ports"]]
        if site is self._sites[name]:
            visits, left["visits"] = left["visits"], []
            self._sites[name].adopt(visits)
        if listen.path is not None:
            self._files.append(listen.path)
        return ports

    def state(self) -> dict[str, Any]:
        """@return: where this listens, and to whom, for the code that comes after it; complete while paused."""
        return {
            name: {
                "text": listen.text,
                "ports": [port.fileno() for port in ports if listen.isPlain],
                "visits": self._sites[name].descriptors() if listen.isPlain else [],
            }
            for name, (listen, ports) in self._places.items()
        }

    @staticmethod
    def descriptors(state: Mapping[str, Any]) -> list[int]:
        """@return: those that a L{state} speaks of."""
        return [each for place in state.values() for each in (*place["ports"], *place["visits"])]

    def forget(self) -> None:
        """The start has failed, and no reactor will run that closes anything: remove the socket files that it made."""
        for path in self._made:
            with suppress(OSError):
                os.unlink(path)

    def pause(self) -> Deferred[Any]:
        """
        Let whoever comes or asks wait.

        @return: fires when all that was asked before is answered, or will not be.
        """
        for port in self._ports:
            port.stopReading()
        settling = [Deferred.fromCoroutine(visits.pause()) for visits in self._sites.values()]
        settled = gatherResults(settling, consumeErrors=True)
        return settled.addTimeout(_SETTLED_WITHIN, self._reactor, onTimeoutCancel=lambda result, seconds: None)

    def resume(self) -> None:
        """Go on after L{pause}."""
        for port in self._ports:
            port.startReading()
        for visits in self._sites.values():
            visits.resume()

    @property
    def _ports(self) -> list[Any]:
        return [port for _, ports in self._places.values() for port in ports]

    def startService(self) -> None:
        super().startService()
        sampling = self._loop.start(EVERY)
        sampling.addErrback(lambda failure: self._log.failure("sampling", failure))

    def _sample(self) -> Deferred[None]:
        heard = self._crew.ask("admin.report")
        return heard.addCallbacks(self._sampled, lambda failure: logFault(self._log, "sampling", failure))

    def _sampled(self, heard: Heard) -> None:
        self._crew.enter(heard)
        sessions = sum(report["sessions"] for report in heard.answers)
        self._history.sample(time.time(), self._crew.total, sessions)

    def stopService(self) -> Deferred[Any]:
        """@return: fires when nobody listens any more."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        return self._stopListening()

    def _stopListening(self) -> Deferred[Any]:
        ports = self._ports
        self._places.clear()
        for path in self._files:
            with suppress(OSError):
                os.unlink(path)
        return DeferredList([maybeDeferred(port.stopListening) for port in ports], consumeErrors=True)


def _close(descriptors: Iterable[int]) -> None:
    for each in descriptors:
        os.close(each)


def checkAdmin(config: AdminConfig, reactor: Any, speaksTLS: bool) -> None:
    """
    @param speaksTLS: whether there is a certificate.
    @raise ConfigError: as far as that can be told without listening, it cannot be.
    """
    if config.endpoint is not None:
        listen = _parse("admin", reactor, config.endpoint)
        if listen.path is None and config.token is None:
            raise ConfigError(f"--admin {config.endpoint}: TCP needs --admin-token @FILE")
        if config.token is not None and config.token == config.readToken:
            raise ConfigError("--admin-read-token: the same as --admin-token, which may do everything")
        if not speaksTLS and _isFar(config.endpoint):
            raise ConfigError(f"--admin {config.endpoint}: {_OPEN}")
    if config.health is not None:
        _parse("health", reactor, config.health)


def checkPlaces(config: AdminConfig, reactor: Any) -> None:
    """@raise ConfigError: a socket file cannot be made."""
    for name, text in (("admin", config.endpoint), ("health", config.health)):
        if text is not None:
            try:
                _parse(name, reactor, text).check()
            except ConfigError as error:
                raise _of(name, error) from error


def _parse(name: str, reactor: Any, text: str) -> Listen:
    """@raise ConfigError: it is no place to listen; in the name of this option."""
    try:
        return parseListen(reactor, text)
    except ConfigError as error:
        raise _of(name, error) from error


def _of(name: str, error: object) -> ConfigError:
    return ConfigError(f"--{name}{str(error).removeprefix('--listen')}")


def _now(bound: Deferred[list[IListeningPort]], name: str) -> Sequence[IListeningPort]:
    """@raise ConfigError: nobody can listen there, or not at once."""
    results: list[Any] = []
    bound.addBoth(results.append)
    [result] = results or [Failure(ConfigError(f"--listen: --{name} has to listen at once"))]
    if isinstance(result, Failure):
        if result.check(ConfigError):
            raise _of(name, result.value)
        result.raiseException()
    ports: Sequence[IListeningPort] = result
    return ports


def _private(text: str) -> str:
    """A socket file is its owner's alone, unless it is said whose else."""
    if text.lower().startswith("unix:") and ":mode=" not in text:
        return f"{text}:mode=600"
    return text


def _isNear(text: str) -> bool:
    """Whether a text says that it is loopback: what it speaks is decided before it is bound."""
    host = text.rpartition(":")[0].removeprefix("tcp:").strip("[]")
    return host == "localhost" or "interface=127." in text or "interface=localhost" in text or _isLoopback(host)


def _isFar(text: str) -> bool:
    """Whether a text says that it is no loopback. What a name stands for is not known before that is bound."""
    prefix, _, rest = text.partition(":")
    if not rest:
        return text.isdecimal()
    if prefix.lower() in ("tcp", "tcp6"):
        return "interface=" not in text
    try:
        return not ip_address(text.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        return False


def _isLoopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _isLocal(address: IAddress) -> bool:
    if isinstance(address, (IPv4Address, IPv6Address)):
        return _isLoopback(address.host)
    return isinstance(address, UNIXAddress) or os.name != "posix"
