"""The one Redis that somebody has named: asked when it is there, and never waited for when it is not.

::

    idle ─► connecting ─► there ─► (lost) connecting ─► …
                │           └─► (no answer in time) ─► away
                └─► (it cannot be) away ─► connecting, unasked, after a while

While it connects, for the first time or after a connection was lost, commands wait for that, L{WITHIN} seconds at most.
While it is away they fail at once. Connecting includes a PING that is answered: one that is stopped (SIGSTOP) takes
connections all the same. The log has one line when it goes away, and one when it is back.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    TimeoutError,
    ensureDeferred,
    fail,
    maybeDeferred,
    succeed,
)
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IAddress, IDelayedCall, IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.cluster.address import Address
from wsproxy.cluster.errors import RedisAway, RedisError
from wsproxy.errors import ConfigError
from wsproxy.escape import escape
from wsproxy.fault import logFault
from wsproxy.tls.client import clientTLS, describeTLSFailure

if TYPE_CHECKING:
    from wsproxy.cluster.protocol import RedisProtocol

__all__ = ["FAREWELL", "HASTE", "LONGEST_DELAY", "SHORTEST_DELAY", "WITHIN", "Redis", "connect"]

WITHIN = 2.0
"""Seconds until a command is answered, or has failed; also that a connection may take."""

SHORTEST_DELAY, LONGEST_DELAY = 0.1, 3.0
"""Seconds until it is looked for again; each is twice the last one."""

HASTE = 0.75
"""Seconds that a connection may take where it is looked for often: a SYN that is lost is repeated after one."""

T = TypeVar("T")

FAREWELL = 0.5
"""Seconds that what is still being asked is given when all ends."""

_MUTE = f"no answer for {WITHIN:.0f} s"


def connect(reactor: Any, address: Address, option: str, looking: float | None = None) -> Redis:
    """
    Connects when it is first asked something.

    @param option: who named it, for the log and for complaints.
    @param looking: seconds at most until it is looked for again, without a word in the log: another connection to the
        same Redis has that. It has to be near then: a connection may take L{HASTE} seconds.
    @return: to be started and stopped with the rest, or stopped by itself.
    @raise ConfigError: txredisapi is not installed, or the authorities to trust cannot be read.
    """
    try:
        from wsproxy.cluster.protocol import RedisProtocol
    except ImportError:
        raise ConfigError(f"{option}: needs txredisapi: pip install 'wsproxy[redis]'") from None
    within = WITHIN if looking is None else HASTE
    endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, address.host, address.port, timeout=within)
    if address.tls:
        endpoint = wrapClientTLS(_tls(address, option), endpoint)
    return Redis(reactor, address, option, endpoint, lambda: RedisProtocol(reactor), looking)


def _tls(address: Address, option: str) -> IOpenSSLClientConnectionCreator:
    try:
        return clientTLS(address.host, authorities=address.authorities, insecure=False)
    except ConfigError as error:
        raise ConfigError(f"{option}: {str(error).removeprefix('--target-cafile ')}") from None


class _State(Enum):
    IDLE = "nobody has asked anything yet"
    CONNECTING = "who asks waits for the connection"
    THERE = "it answers"
    AWAY = "who asks is told so at once"


class _Factory(Factory[Any]):
    noisy = False

    def __init__(self, build: Callable[[], RedisProtocol]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> RedisProtocol:
        return self._build()


class Redis(Service):
    """
    See the module.

    @param option: who named it, for the log.
    @param endpoint: where it is.
    @param build: a protocol for a connection.
    @param looking: see L{connect}.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        address: Address,
        option: str,
        endpoint: IStreamClientEndpoint,
        build: Callable[[], RedisProtocol],
        looking: float | None = None,
    ) -> None:
        self._within = WITHIN if looking is None else HASTE
        self._longest = LONGEST_DELAY if looking is None else looking
        self._quiet = looking is not None
        self._reactor = reactor
        self._address = address
        self._option = option
        self._endpoint = endpoint
        self._factory = _Factory(build)
        self._state = _State.IDLE
        self._connection: RedisProtocol | None = None
        self._waiting: list[Deferred[None]] = []
        self._asking: set[Deferred[Any]] = set()
        self._keeping: Deferred[None] | None = None
        self._awaited: Deferred[Any] | None = None  # by what keeps the connection
        self._closed = False
        self._told = False  # whether the log knows that it is away
        self._found: list[Callable[[], object]] = []
        self._leaving: list[Callable[[], object]] = []

    # What it is asked

    def execute(self, *words: bytes | str | int) -> Deferred[Any]:
        """
        @param words: a command, C{"GET", "key"}.
        @return: fires within L{WITHIN} seconds with the answer: bytes, C{str} for a status (C{"OK"}), C{int}, L{None},
            or a list of these. Fails with L{RedisAway} where there is none, and with L{RedisError} where Redis
            complains. To cancel it is not to wait; the command may be carried out all the same.
        """
        if self._closed:
            return fail(RedisAway(f"{self._option}: {self._address} is left alone"))
        if self._state is _State.THERE:
            answer = self._ask(words)
        elif self._state in (_State.IDLE, _State.CONNECTING):
            waiting: Deferred[None] = Deferred(self._forget)
            self._waiting.append(waiting)
            answer = waiting.addCallback(lambda _: self._ask(words))
            self._begin()
        else:
            return fail(RedisAway(f"{self._option}: {self._address} is away"))
        return self._bounded(answer)

    def _forget(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def _ask(self, words: tuple[bytes | str | int, ...]) -> Deferred[Any]:
        assert self._connection is not None
        return maybeDeferred(self._connection.ask, *words)

    def _bounded(self, answer: Deferred[Any]) -> Deferred[Any]:
        outcome: Deferred[Any] = Deferred(lambda _: answer.cancel())

        def late() -> None:
            outcome.errback(RedisAway(f"{self._option}: {self._address} has not answered in time"))
            answer.cancel()
            self._isDeaf()

        def settle(result: Any) -> None:
            self._asking.discard(outcome)
            if timer.active():
                timer.cancel()
            if not outcome.called:
                outcome.callback(result)

        timer: IDelayedCall = self._reactor.callLater(WITHIN, late)
        self._asking.add(outcome)
        answer.addBoth(settle)
        return outcome

    def _isDeaf(self) -> None:
        """Nothing that is asked on the same connection will be answered."""
        connection = self._connection
        if connection is not None:
            self._lose(_MUTE)
            connection.transport.abortConnection()

    # Whether it is there

    def whenFound(self, found: Callable[[], object]) -> None:
        """Call C{found} each time that it is there, or there again."""
        self._found.append(found)

    def beforeLeaving(self, leave: Callable[[], object]) -> None:
        """Call C{leave}, which may ask a last thing, when all ends."""
        self._leaving.append(leave)

    def _begin(self) -> None:
        if self._keeping is None:
            self._state = _State.CONNECTING
            self._keeping = ensureDeferred(self._keep())
            self._keeping.addErrback(lambda failure: failure.trap(CancelledError))
            self._keeping.addErrback(lambda failure: logFault(self._log, "keeping a connection to Redis", failure))

    async def _keep(self) -> None:
        delay = SHORTEST_DELAY
        while True:
            connecting: Deferred[RedisProtocol] = Deferred.fromCoroutine(self._connect())
            try:
                connection = await self._wait(connecting.addTimeout(self._within, self._reactor))
            except Exception as error:
                if self._closed:
                    return
                self._lose(_reason(error))
            else:
                began = self._reactor.seconds()
                await self._serve(connection)
                if self._reactor.seconds() - began > LONGEST_DELAY:
                    delay = SHORTEST_DELAY
                elif self._state is _State.CONNECTING and delay > SHORTEST_DELAY:
                    self._lose("it ends connections")
            await self._wait(deferLater(self._reactor, delay))
            delay = min(2 * delay, self._longest)

    async def _wait(self, waiting: Deferred[T]) -> T:
        """Until C{waiting} fires, or all ends, and this with L{CancelledError}."""
        self._awaited = waiting
        if self._closed:
            waiting.cancel()
        try:
            return await waiting
        finally:
            self._awaited = None

    async def _connect(self) -> RedisProtocol:
        """@return: a connection that has answered; cancelled, there is none left."""
        connecting: Deferred[Any] = self._endpoint.connect(self._factory)
        connection: RedisProtocol = await connecting
        try:
            await self._greet(connection)
        except BaseException:
            connection.transport.abortConnection()
            if self._address.tls and connection.why is not None:
                connection.why.raiseException()
            raise
        return connection

    async def _greet(self, connection: RedisProtocol) -> None:
        address = self._address
        if address.password is not None:
            who = () if address.user is None else (address.user,)
            await connection.ask("AUTH", *who, address.password)
        if address.db:
            await connection.ask("SELECT", address.db)
        if await connection.ask("PING") != "PONG":
            raise RedisAway("what answers is not Redis")

    async def _serve(self, connection: RedisProtocol) -> None:
        """From now on to the end of this connection."""
        self._connection, self._state = connection, _State.THERE
        if self._told:
            self._told = False
            self._log.info("{option}: {address} is back", option=self._option, address=self._address)
        self._release(None)
        self._call(self._found)
        try:
            await self._wait(connection.lost)
        finally:
            connection.transport.loseConnection()
        if self._state is _State.THERE:
            self._connection, self._state = None, _State.CONNECTING  # most often it was restarted, or nobody asked

    def _lose(self, reason: str) -> None:
        self._connection, self._state = None, _State.AWAY
        if not (self._told or self._quiet):
            self._told = True
            text = "{option}: {address} is away: {reason}"
            self._log.warn(text, option=self._option, address=self._address, reason=reason)
        self._release(Failure(RedisAway(f"{self._option}: {self._address} is away")))

    def _release(self, outcome: Failure | None) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None) if outcome is None else each.errback(outcome)

    def _call(self, functions: list[Callable[[], object]]) -> None:
        for function in functions:
            maybeDeferred(function).addErrback(lambda failure: logFault(self._log, "telling of Redis", failure))

    # Its end

    def stopService(self) -> Deferred[None]:
        """@return: fires when it is closed, L{FAREWELL} seconds later at most."""
        super().stopService()
        if self._closed or self._state is not _State.THERE:
            self._close()
            return succeed(None)
        self._call(self._leaving)
        last: Deferred[Any] = DeferredList([_whenSettled(each) for each in self._asking])
        last.addTimeout(FAREWELL, self._reactor)
        return last.addBoth(lambda _: self._close())

    def _close(self) -> None:
        self._closed = True
        self._release(Failure(RedisAway(f"{self._option}: {self._address} is left alone")))
        if self._awaited is not None:
            self._awaited.cancel()


def _whenSettled(answer: Deferred[Any]) -> Deferred[None]:
    """@return: fires when C{answer} does, which keeps what it comes to."""
    settled: Deferred[None] = Deferred()

    def pass_(result: Any) -> Any:
        if not settled.called:
            settled.callback(None)
        return result

    answer.addBoth(pass_)
    return settled


def _reason(error: Exception) -> str:
    """Why there is no connection, for the log, without anything secret."""
    if isinstance(error, TimeoutError):
        return _MUTE
    if isinstance(error, RedisError):
        return str(error)
    if isinstance(error, (ConnectError, DNSLookupError)):
        return escape(" ".join(str(error).split()))
    return escape(describeTLSFailure(error))
