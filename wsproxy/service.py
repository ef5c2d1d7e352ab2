"""The wiring diagram: a L{Config<wsproxy.config.Config>} in, a service that runs it out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from zope.interface import implementer

from wsproxy.backend.dial import Dialer
from wsproxy.backend.tls import clientTLS, describeTLSFailure
from wsproxy.config import Config
from wsproxy.errors import ConfigError
from wsproxy.escape import escape
from wsproxy.factory import WebSockifyFactory
from wsproxy.frontend.pages import kindOf, makePages
from wsproxy.frontend.tls import ServerTLS
from wsproxy.interfaces import IResolver, IStatusStop, Request, Target
from wsproxy.listen import parseListen
from wsproxy.process.command import Command, rebindLibrary
from wsproxy.process.dialer import ProgramDialer
from wsproxy.process.listeners import Listeners
from wsproxy.process.report import Report
from wsproxy.process.supervisor import TOLD, Rebinding, Supervisor, WrapMode
from wsproxy.proxy import Proxy
from wsproxy.tunnel.recorder import Recordings
from wsproxy.tunnel.recordingfile import RecordingFiles
from wsproxy.tunnel.tap import TapFactory
from wsproxy.tunnel.traffic import TrafficMarks

__all__ = ["FixedResolver", "makeProxy"]


@implementer(IResolver)
class FixedResolver:
    """Every request leads to the one target."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def resolve(self, request: Request) -> Target:
        return self._target


def makeProxy(config: Config, reactor: Any, stopper: IStatusStop) -> Proxy:
    """
    Wire up what C{config} describes.

    @raise ConfigError: it cannot be: a certificate or a CA file is unusable, a listen or target string is not one, a
        program cannot be run.
    """
    tls = ServerTLS(config.tls, reactor) if config.tls is not None else None
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
        marks = TrafficMarks(sys.__stdout__)
        taps.append(lambda session: marks)
    makeFactory = partial(
        WebSockifyFactory,
        reactor,
        origins=config.origins,
        subprotocols=config.subprotocols,
        text=config.text,
        pages=makePages(
            config.web,
            index=config.index,
            listing=config.webListing,
            own=config.pages,
            target=kindOf(config.target),
        ),
        tls=tls,
        tlsOnly=config.tlsOnly,
        flashPolicy=config.flashPolicy,
        handshakeTimeout=config.handshakeTimeout,
        heartbeat=config.heartbeat,
        taps=taps,
        pump=config.pump,
        raw=config.raw,
        rawAfter=config.rawAfter,
        verbose=config.verbose,
    )
    if config.program:
        return _wrap(config, reactor, stopper, dialer, makeFactory, tls, recordings)
    if config.target is None:
        raise ConfigError("--target: where should sessions lead?")
    target = Target(config.target)
    dialer.check(target)
    return Proxy(config, reactor, makeFactory(resolver=FixedResolver(target), dialer=dialer), tls, recordings, stopper)


def _wrap(
    config: Config,
    reactor: Any,
    stopper: IStatusStop,
    dialer: Dialer,
    makeFactory: Callable[..., WebSockifyFactory],
    tls: ServerTLS | None,
    recordings: Recordings | None,
) -> Proxy:
    """A proxy with a program behind it."""
    command = Command.find(config.program, os.environ)
    if config.everyPort and command.hasPlaceholder:
        raise ConfigError("--every-port: clashes with {port} and {socket} in the program's arguments")
    rebinding = None if command.hasPlaceholder else Rebinding(rebindLibrary(), portToMove(reactor, config))
    listeners = Listeners()
    wrapped = ProgramDialer(
        reactor,
        command.name,
        listeners,
        TOLD if rebinding is None else rebinding.port,
        announced=rebinding is not None,
        dialer=dialer,
        timeout=config.connectTimeout,
    )
    proxy = Proxy(config, reactor, makeFactory(resolver=wrapped, dialer=wrapped), tls, recordings, stopper)

    def moved(report: Report) -> None:
        if config.everyPort:
            proxy.front(report.asked)

    mode = WrapMode(config.wrapMode)
    Supervisor(reactor, command, mode, rebinding, listeners, ended=proxy.end, moved=moved).setServiceParent(proxy)
    return proxy


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
