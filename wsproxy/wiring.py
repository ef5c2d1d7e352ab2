"""The wiring diagram: a L{Config<wsproxy.config.Config>} in, a service that runs it out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn, TextIO, cast

from twisted.application.service import IService
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from zope.interface import implementer

from wsproxy.access.reach import Reach
from wsproxy.access.resolver import FixedResolver
from wsproxy.cluster.parent import Parent
from wsproxy.config import (
    Config,
    LimitsConfig,
    ListeningConfig,
    ProgramConfig,
    RecordingConfig,
    TargetConfig,
    WebConfig,
    asKeywords,
)
from wsproxy.daemon.log import retrying
from wsproxy.daemon.outlet import Outlet, Stream, sinkOf
from wsproxy.daemon.threads import Threads
from wsproxy.dialling.dial import Dialer
from wsproxy.endpoints.inetd import Inetd
from wsproxy.endpoints.listen import Bindable, Listen, parseListen
from wsproxy.entrance import Common, makeEntrance
from wsproxy.errors import ConfigError, Refusal
from wsproxy.escape import escape
from wsproxy.factory import WebSockifyFactory
from wsproxy.interfaces import AnyResolver, Identity, IDialer, IStatusStop, Request, TapFactory, Target
from wsproxy.process.command import Command, rebindLibrary
from wsproxy.process.dialer import ProgramDialer
from wsproxy.process.listeners import Listeners
from wsproxy.process.report import Report
from wsproxy.process.supervisor import TOLD, Rebinding, Supervisor, WrapMode
from wsproxy.recording.file import RecordingFiles
from wsproxy.recording.recorder import Recordings
from wsproxy.service.originallines import OriginalLines
from wsproxy.service.proxy import Fitting, Proxy, announce
from wsproxy.service.renewal import distinct, ownTLS
from wsproxy.sessions.routes import Routes
from wsproxy.sessions.tokenwatch import Tokens, TokenWatch
from wsproxy.static_web.pages import kindOf, makePages
from wsproxy.tls.client import clientTLS, describeTLSFailure
from wsproxy.tls.server import ServerTLS, asksForCertificates
from wsproxy.tunnel.trafficmarks import TrafficMarks

__all__ = ["WrappedProgram", "assemble", "assembleAlone", "findProgram", "fit", "makeProxy", "parts", "wrappedProgram"]

_NO_LIMITS = LimitsConfig()

_LISTINGS = 4
"""Directories read at a time for C{--web-listing}."""


@dataclass(frozen=True, slots=True)
class WrappedProgram:
    """What the way to a wrapped program takes: see L{ProgramDialer}. Of what JSON can say."""

    name: str
    port: int | None
    announced: bool
    again: bool


Steer = Callable[[Any, IDialer], Any]
"""
Makes, of a reactor and a dialer, a resolver that is dialer and observer as well; and authenticator, where its
C{webAuth} has it asked about pages, too.
"""


def makeProxy(config: Config, reactor: Any, stopper: IStatusStop, steer: Steer | None = None) -> Proxy:
    """
    Wire up what C{config} describes, in this one process.

    @param steer: who decides about clients and leads them, in the place of what C{config} says of that.
    @raise ConfigError: it cannot be: a certificate or a CA file is unusable, a listen or target string is not one, a
        program cannot be run.
    """
    program = config.program
    if program is None:
        return assemble(config, reactor, stopper, steer=steer)
    command, rebinding = findProgram(program, config.listening, reactor)
    listeners = Listeners()
    proxy = assemble(config, reactor, stopper, None, wrappedProgram(program, command, rebinding), listeners)

    def moved(report: Report) -> None:
        if program.everyPort:
            proxy.front(report.asked)

    mode = WrapMode(program.mode)
    supervisor = Supervisor(
        reactor, command, mode, rebinding, listeners, ended=proxy.end, moved=moved, fronts=proxy.fronts
    )
    supervisor.setServiceParent(proxy)
    return proxy


def assemble(
    config: Config,
    reactor: Any,
    stopper: IStatusStop,
    adopted: Sequence[Bindable] | None = None,
    wrapped: WrappedProgram | None = None,
    listeners: Listeners | None = None,
    parent: Parent | None = None,
    steer: Steer | None = None,
) -> Proxy:
    """
    The proxy without the program that is wrapped: that of a single process, or one of several.

    @param adopted: where to listen, instead of C{--listen}: a worker's sockets.
    @param wrapped: the program, if there is one; in a worker's case the parent runs it.
    @param listeners: where it listens.
    @param parent: of a worker.
    @param steer: see L{makeProxy}.
    @raise ConfigError: see L{makeProxy}; for a worker, things may have changed since the parent was started.
    """
    common = Common(config, reactor, parent)

    def addresses() -> Sequence[IAddress]:
        return proxy.addresses

    fitting = fit(config, reactor, common, addresses, wrapped, listeners, steer)
    common.guard(fitting.factory.sessions)

    def parse(name: str, text: str) -> Listen:
        return replace(parseListen(reactor, text), text=name)

    listens: list[Bindable] = [parse(*each) for each in distinct(config.listening.listen).items()]
    if adopted is not None:
        listens = [*adopted]
    elif config.listening.inetd:

        def ended() -> None:
            fitting.factory.sessions.whenIdle().addCallback(lambda _: stopper.stop(0))

        listens.append(Inetd(reactor, ended))
    proxy = Proxy(fitting, listens, reactor, stopper, _announcing(fitting) if adopted is None else None)
    common.attach(proxy)
    proxy.neighbours = common.neighbours

    def refit(new: Config) -> Fitting:
        return fit(new, reactor, common, addresses, wrapped, listeners, steer)

    def limit(new: Config) -> None:
        common.limit(new)
        common.attach(proxy)

    proxy.renewable(refit, limit, parse)
    return proxy


def _announcing(fitting: Fitting) -> Callable[[Logger, Config, IListeningPort], None]:
    """@return: what says where it is listened, in the words of the original as well where these are wanted."""
    if not fitting.config.logging.original:
        return announce
    original = OriginalLines(fitting.config, fitting.factory.sessions.route.shownPath)
    fitting.factory.sessions.observe(original)

    def announceTwice(log: Logger, config: Config, port: IListeningPort) -> None:
        announce(log, config, port)
        original.announce(port)

    return announceTwice


def fit(
    config: Config,
    reactor: Any,
    common: Common,
    addresses: Callable[[], Sequence[IAddress]],
    wrapped: WrappedProgram | None = None,
    listeners: Listeners | None = None,
    steer: Steer | None = None,
) -> Fitting:
    """
    What receives clients, with nothing of it in force yet.

    @param common: what is kept when settings change.
    @param addresses: where the proxy listens.
    @param steer: see L{makeProxy}.
    @raise ConfigError: see L{makeProxy}.
    """
    tls = ServerTLS(config.tls) if config.tls is not None else None
    own = {name: None if each is None else ServerTLS(each) for name, each in ownTLS(config).items()}
    strict = any(map(asksForCertificates, own.values())) or None
    make = partial(
        _way,
        tls=tls,
        strict=strict,
        reactor=reactor,
        common=common,
        addresses=addresses,
        wrapped=wrapped,
        listeners=listeners,
        steer=steer,
    )
    ways = [make(config)]
    for route in config.routes:
        shared = {"listening", "clients", "tls", "web", "limits", "lifetime", "logging", "cluster", "inspection"}
        here = replace(route.config, **{name: getattr(config, name) for name in shared})
        ways.append(_naming(route.name, partial(make, here, route=route.name, limits=route.config.limits)))
    factory = ways[0].factory
    if config.routes:
        known = zip(config.routes, ways[1:], strict=True)
        factory.sessions.branch(Routes((route.host, route.path, way.factory.sessions.route) for route, way in known))
    recordings = tuple(way.recordings for way in ways if way.recordings is not None)
    services = tuple(each for way in ways for each in way.services)
    return Fitting(config, factory, tls, recordings, services, own)


@dataclass(frozen=True, slots=True)
class _Way:
    factory: WebSockifyFactory
    recordings: Recordings | None
    services: tuple[IService, ...]


def _way(
    config: Config,
    route: str = "",
    limits: LimitsConfig = _NO_LIMITS,
    *,
    tls: ServerTLS | None,
    strict: bool | None,
    reactor: Any,
    common: Common,
    addresses: Callable[[], Sequence[IAddress]],
    wrapped: WrappedProgram | None,
    listeners: Listeners | None,
    steer: Steer | None,
) -> _Way:
    """
    One way in: the only one, or that of a route.

    @param limits: of C{route} alone.
    @raise ConfigError: see L{makeProxy}.
    """
    recordings = _recordings(config.recording, reactor)
    reach = Reach(config.access.allowTargets, config.access.denyTargets, addresses)
    dialer = _dialer(config.target, config.proxies.send, reactor, reach)
    resolver: AnyResolver | None
    way: Any
    if steer is None:
        resolver, way = _ways(config.target, dialer, reactor, wrapped, listeners)
    else:
        resolver = way = steer(reactor, dialer)
    if resolver is None and (route or config.routes):
        resolver = nowhere
    entrance = makeEntrance(config, reactor, resolver, common, limits, route)
    if steer is not None:
        authenticator = way if way.webAuth else None
        observers = (*entrance.observers, way)
        entrance = replace(entrance, authenticator=authenticator, webAuth=way.webAuth, observers=observers)
    factory = WebSockifyFactory(
        reactor,
        dialer=way,
        connectTimeout=config.target.connectTimeout,
        pages=None if route else _pages(config.web, config.target, reactor),
        tls=tls,
        tlsOnly=config.tls is not None and config.tls.only,
        strictScheme=strict,
        taps=_taps(config, recordings, reactor),
        verbose=config.logging.verbose,
        allow=config.proxies.allow,
        trustedProxies=config.proxies.trusted,
        **entrance.asKeywords(),
        **asKeywords(config.clients),
        **asKeywords(config.sessions),
    )
    factory.sessions.route.shares = common.shares(config.limits, limits, route)
    if config.access.tokenRevokes:
        TokenWatch(factory.sessions.route, _tokens(entrance.resolver), reactor)
    return _Way(factory, recordings, entrance.services)


def nowhere(request: Request, identity: Identity | None) -> NoReturn:
    """Of a route for pages alone."""
    raise Refusal(404, "Not found", cause="this route has no target")


def assembleAlone(config: Config, reactor: Any) -> Proxy:
    """
    What L{makeProxy} makes, for somebody who asks it questions and does not start it: a program is not even looked for.

    @raise ConfigError: see L{makeProxy}.
    """
    program = config.program
    wrapped = None if program is None else WrappedProgram(program.words[0], TOLD, announced=False, again=False)
    adopted: list[Bindable] | None = [] if config.listening.inetd else None  # what is on stdin stays there
    return assemble(config, reactor, _Nobody(), adopted, wrapped, Listeners())


def parts(config: Config, reactor: Any) -> list[Callable[[], Any]]:
    """
    @return: what each make a part of a proxy, and raise L{ConfigError} where that cannot be: so all that is wrong is
        found, where L{makeProxy} stops at the first. The last makes the whole.
    """
    made: list[Callable[[], Any]] = [partial(_place, reactor, text) for text in config.listening.listen]
    sides = (config.tls, *(listener.tls for listener in config.listeners))
    made += (partial(ServerTLS, tls) for tls in sides if tls is not None)
    if config.program is not None:
        made.append(partial(findProgram, config.program, config.listening, reactor))
    if config.admin.wanted:
        from wsproxy.admin.service import checkAdmin, checkPlaces  # late: a web site, for some

        made.append(partial(checkAdmin, config.admin, reactor, speaksTLS=config.tls is not None))
        made.append(partial(checkPlaces, config.admin, reactor))
    if not config.routes:
        made += _partsOfWay(config, reactor)
    for route in config.routes:
        made += (partial(_naming, route.name, part) for part in _partsOfWay(route.config, reactor))
    return [*made, partial(assembleAlone, config, reactor)]


def _place(reactor: Any, text: str) -> None:
    """@raise ConfigError: nobody can listen there."""
    parseListen(reactor, text).check()


def _partsOfWay(config: Config, reactor: Any) -> list[Callable[[], Any]]:
    recording, target = config.recording, config.target
    made: list[Callable[[], Any]] = []
    if recording is not None:
        made.append(partial(RecordingFiles, recording.path, recording.keep))
    if target.endpoint is not None:
        plain = Dialer(reactor, connectTimeout=target.connectTimeout)
        made.append(partial(plain.check, Target(target.endpoint)))
    if target.authorities is not None:
        made.append(partial(clientTLS, "localhost", authorities=target.authorities, insecure=target.insecure))
    made.append(lambda: makeEntrance(config, reactor, FixedResolver(Target("demo:")), Common(config, reactor)))
    return made


def _naming(route: str, make: Callable[[], Any]) -> Any:
    """@raise ConfigError: what C{make} raises, and of which route."""
    try:
        return make()
    except ConfigError as error:
        raise ConfigError(f"route {route}: {error}") from error


@implementer(IStatusStop)
class _Nobody:
    """Of a proxy that is not started, and does not stop."""

    def stop(self, status: int) -> None:
        """It never is asked to."""

    def fail(self, failure: Failure) -> None:
        """It never does."""


def _tokens(resolver: object) -> Tokens:
    """@raise ConfigError: nobody knows whether a token is still good."""
    if not (hasattr(resolver, "token") and hasattr(resolver, "stillGood")):
        raise ConfigError("--token-revokes: clashes with an --auth-plugin that is asked after the lookup")
    return cast(Tokens, resolver)


def _dialer(target: TargetConfig, sendProxy: str | None, reactor: Any, reach: Reach) -> Dialer:
    """@raise ConfigError: the authorities to trust cannot be read."""
    tls = partial(clientTLS, authorities=target.authorities, insecure=target.insecure)
    if target.authorities is not None:
        tls("localhost")  # a bad file is told now, not to the first client
    return Dialer(
        reactor,
        connectTimeout=target.connectTimeout,
        tls=tls,
        describeTLS=describeTLSFailure,
        forceTLS=target.tls,
        sendProxy=sendProxy,
        reach=reach,
        fixed=target.endpoint,
    )


def _ways(
    target: TargetConfig,
    dialer: Dialer,
    reactor: Any,
    wrapped: WrappedProgram | None,
    listeners: Listeners | None,
) -> tuple[AnyResolver | None, IDialer]:
    """
    @return: where sessions lead, L{None} where tokens say so; and how they get there.
    @raise ConfigError: nowhere, or not that way.
    """
    if wrapped is not None and listeners is not None:
        program = ProgramDialer(
            reactor,
            wrapped.name,
            listeners,
            wrapped.port,
            announced=wrapped.announced,
            again=wrapped.again,
            connect=dialer.connect,
            header=dialer.header,
            timeout=target.connectTimeout,
        )
        return program, program
    if target.endpoint is None:
        return None, dialer
    dialer.check(Target(target.endpoint))
    return FixedResolver(Target(target.endpoint)), dialer


def _pages(web: WebConfig, target: TargetConfig, reactor: Any) -> IResource | None:
    return makePages(
        web.directory,
        index=web.index,
        listing=Threads(reactor, _LISTINGS, "listing") if web.listing else None,
        own=web.pages,
        target=kindOf(target.endpoint),
    )


def _taps(config: Config, recordings: Recordings | None, reactor: Any) -> list[TapFactory]:
    taps: list[TapFactory] = [] if recordings is None else [recordings]
    if config.logging.traffic and sys.__stdout__ is not None:
        marks = TrafficMarks(_unwaiting(sys.__stdout__, reactor))
        taps.append(lambda session: marks)
    return taps


def _unwaiting(stream: TextIO, reactor: Any) -> Any:
    """What writes to this stream, but loses what nobody takes; the stream itself where there is no file behind it."""
    try:
        sink = sinkOf(stream.fileno())
    except (OSError, ValueError):
        return stream
    return Stream(Outlet(sink, retrying(reactor), lambda count: b""))


def findProgram(program: ProgramConfig, listening: ListeningConfig, reactor: Any) -> tuple[Command, Rebinding | None]:
    """
    @return: the program to be wrapped, and how its port is moved; L{None} where it is told where to listen.
    @raise ConfigError: see L{makeProxy}.
    """
    command = Command.find(program.words, os.environ)
    if program.address is not None:
        command = replace(command, addresses=(program.address,))
    if not command.needsMove:
        if program.everyPort:
            raise ConfigError("--every-port: clashes with {port} and {socket} in the program's arguments")
        return command, None
    return command, Rebinding(rebindLibrary(), portToMove(reactor, program, listening))


def wrappedProgram(program: ProgramConfig, command: Command, rebinding: Rebinding | None) -> WrappedProgram:
    """@return: how sessions get to this program."""
    port = TOLD if rebinding is None else rebinding.port
    again = WrapMode(program.mode) is WrapMode.RESPAWN
    return WrappedProgram(command.name, port, announced=rebinding is not None, again=again)


def portToMove(reactor: Any, program: ProgramConfig, listening: ListeningConfig) -> int | None:
    """
    The port of the one TCP C{--listen}; L{None} where all of the program's are listened on.

    @raise ConfigError: there is no such thing, and the program has no placeholders either.
    """
    if program.everyPort:
        return None
    listen = listening.listen
    port = parseListen(reactor, listen[0]).port if len(listen) == 1 else None
    if not port:
        listens = " ".join(f"--listen {text}" for text in listen) or "--inetd"
        raise ConfigError(
            f"{listens}: which port does {escape(program.words[0])} open? Give one TCP port, or tell the program "
            f"where to listen with {{port}} or {{socket}} in its arguments"
        )
    return port


def _recordings(recording: RecordingConfig | None, reactor: Any) -> Recordings | None:
    if recording is None:
        return None
    files = RecordingFiles(recording.path, recording.keep)
    return Recordings(reactor, files, maxSize=recording.maxSize, required=recording.required)
