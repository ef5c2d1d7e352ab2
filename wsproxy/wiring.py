"""The wiring diagram: a L{Config<wsproxy.config.Config>} in, a service that runs it out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO

from zope.interface import implementer

from wsproxy.config import Config
from wsproxy.daemon.log import retrying
from wsproxy.daemon.outlet import Outlet, Stream, sinkOf
from wsproxy.daemon.threads import Threads
from wsproxy.dialling.dial import Dialer
from wsproxy.endpoints.listen import Listen, parseListen
from wsproxy.errors import ConfigError
from wsproxy.escape import escape
from wsproxy.factory import WebSockifyFactory
from wsproxy.interfaces import IDialer, IResolver, IStatusStop, Request, Target
from wsproxy.process.command import Command, rebindLibrary
from wsproxy.process.dialer import ProgramDialer
from wsproxy.process.listeners import Listeners
from wsproxy.process.report import Report
from wsproxy.process.supervisor import TOLD, Rebinding, Supervisor, WrapMode
from wsproxy.recording.file import RecordingFiles
from wsproxy.recording.recorder import Recordings
from wsproxy.service.proxy import Proxy
from wsproxy.static_web.pages import kindOf, makePages
from wsproxy.tls.client import clientTLS, describeTLSFailure
from wsproxy.tls.server import ServerTLS
from wsproxy.tunnel.tap import TapFactory
from wsproxy.tunnel.traffic import TrafficMarks

__all__ = ["FixedResolver", "WrappedProgram", "assemble", "findProgram", "makeProxy", "wrappedProgram"]

_LISTINGS = 4
"""Directories read at a time for C{--web-listing}."""


@implementer(IResolver)
class FixedResolver:
    """Every request leads to the one target."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def resolve(self, request: Request) -> Target:
        return self._target


@dataclass(frozen=True, slots=True)
class WrappedProgram:
    """What the way to a wrapped program takes: see L{ProgramDialer}. Of what JSON can say."""

    name: str
    port: int | None
    announced: bool
    again: bool


def makeProxy(config: Config, reactor: Any, stopper: IStatusStop) -> Proxy:
    """
    Wire up what C{config} describes, in this one process.

    @raise ConfigError: it cannot be: a certificate or a CA file is unusable, a listen or target string is not one, a
        program cannot be run.
    """
    if not config.program:
        return assemble(config, reactor, stopper)
    command, rebinding = findProgram(config, reactor)
    listeners = Listeners()
    proxy = assemble(config, reactor, stopper, None, wrappedProgram(config, command, rebinding), listeners)

    def moved(report: Report) -> None:
        if config.everyPort:
            proxy.front(report.asked)

    mode = WrapMode(config.wrapMode)
    supervisor = Supervisor(
        reactor, command, mode, rebinding, listeners, ended=proxy.end, moved=moved, fronts=proxy.fronts
    )
    supervisor.setServiceParent(proxy)
    return proxy


def assemble(
    config: Config,
    reactor: Any,
    stopper: IStatusStop,
    adopted: Sequence[Listen] | None = None,
    wrapped: WrappedProgram | None = None,
    listeners: Listeners | None = None,
) -> Proxy:
    """
    The proxy without the program that is wrapped: that of a single process, or one of several.

    @param adopted: where to listen, instead of C{--listen}: a worker's sockets.
    @param wrapped: the program, if there is one; in a worker's case the parent runs it.
    @param listeners: where it listens.
    @raise ConfigError: see L{makeProxy}; for a worker, things may have changed since the parent was started.
    """
    tls = ServerTLS(config.tls) if config.tls is not None else None
    targetTLS = partial(clientTLS, authorities=config.targetAuthorities, insecure=config.targetInsecure)
    if config.targetAuthorities is not None:
        targetTLS("localhost")  # a bad file is told now, not to the first client
    dialer = Dialer(
        reactor,
        connectTimeout=config.connectTimeout,
        tls=targetTLS,
        describeTLS=describeTLSFailure,
        forceTLS=config.targetTLS,
    )
    recordings = _recordings(config, reactor)
    taps: list[TapFactory] = [] if recordings is None else [recordings]
    if config.traffic and sys.__stdout__ is not None:
        marks = TrafficMarks(_unwaiting(sys.__stdout__, reactor))
        taps.append(lambda session: marks)
    resolver: IResolver
    way: IDialer
    if wrapped is not None and listeners is not None:
        resolver = way = ProgramDialer(
            reactor,
            wrapped.name,
            listeners,
            wrapped.port,
            announced=wrapped.announced,
            again=wrapped.again,
            dialer=dialer,
            timeout=config.connectTimeout,
        )
    elif config.target is not None:
        resolver, way = FixedResolver(Target(config.target)), dialer
        dialer.check(Target(config.target))
    else:
        raise ConfigError("--target: where should sessions lead?")
    factory = WebSockifyFactory(
        reactor,
        resolver=resolver,
        dialer=way,
        origins=config.origins,
        subprotocols=config.subprotocols,
        text=config.text,
        pages=makePages(
            config.web,
            index=config.index,
            listing=Threads(reactor, _LISTINGS, "listing") if config.webListing else None,
            own=config.pages,
            target=kindOf(config.target),
        ),
        tls=tls,
        tlsOnly=config.tlsOnly,
        flashPolicy=config.flashPolicy,
        handshakeTimeout=config.handshakeTimeout,
        connectTimeout=config.connectTimeout,
        heartbeat=config.heartbeat,
        taps=taps,
        pump=config.pump,
        raw=config.raw,
        rawAfter=config.rawAfter,
        verbose=config.verbose,
    )
    return Proxy(config, reactor, factory, tls, recordings, stopper, adopted)


def _unwaiting(stream: TextIO, reactor: Any) -> Any:
    """What writes to this stream, but loses what nobody takes; the stream itself where there is no file behind it."""
    try:
        sink = sinkOf(stream.fileno())
    except (OSError, ValueError):
        return stream
    return Stream(Outlet(sink, retrying(reactor), lambda count: b""))


def findProgram(config: Config, reactor: Any) -> tuple[Command, Rebinding | None]:
    """
    @return: the program to be wrapped, and how its port is moved; L{None} where it is told where to listen.
    @raise ConfigError: see L{makeProxy}.
    """
    command = Command.find(config.program, os.environ)
    if config.everyPort and command.hasPlaceholder:
        raise ConfigError("--every-port: clashes with {port} and {socket} in the program's arguments")
    return command, None if command.hasPlaceholder else Rebinding(rebindLibrary(), portToMove(reactor, config))


def wrappedProgram(config: Config, command: Command, rebinding: Rebinding | None) -> WrappedProgram:
    """@return: how sessions get to this program."""
    port = TOLD if rebinding is None else rebinding.port
    again = WrapMode(config.wrapMode) is WrapMode.RESPAWN
    return WrappedProgram(command.name, port, announced=rebinding is not None, again=again)


def portToMove(reactor: Any, config: Config) -> int | None:
    """
    The port of the one TCP C{--listen}; L{None} where all of the program's are listened on.

    @raise ConfigError: there is no such thing, and the program has no placeholders either.
    """
    if config.everyPort:
        return None
    port = parseListen(reactor, config.listen[0]).port if len(config.listen) == 1 else None
    if not port:
        listens = " ".join(f"--listen {text}" for text in config.listen)
        raise ConfigError(
            f"{listens}: which port does {escape(config.program[0])} open? Give one TCP port, or tell the program "
            f"where to listen with {{port}} or {{socket}} in its arguments"
        )
    return port


def _recordings(config: Config, reactor: Any) -> Recordings | None:
    if config.record is None:
        return None
    files = RecordingFiles(config.record, config.recordKeep)
    return Recordings(reactor, files, maxSize=config.recordMaxSize, required=config.recordRequired)
