"""Those who decide about clients, as the settings have them: the wiring diagram of the way in.

::

    gates ─► origin ─► authenticator ─► resolver ─► authoriser ─► turnstiles ─► a session
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, IServiceCollection

from wsproxy.cluster.cluster import Cluster, joinCluster
from wsproxy.cluster.parent import Answers, Parent
from wsproxy.config import AuthenticationConfig, Config, LimitsConfig, LinksConfig, TokensConfig
from wsproxy.errors import ConfigError
from wsproxy.interfaces import (
    AnyAuthenticator,
    AnyAuthoriser,
    AnyGate,
    AnyObserver,
    AnyResolver,
    AnyTurnstile,
    Request,
)
from wsproxy.limits.counts import Tally
from wsproxy.limits.make import answerLimits, limitsOf, makeSessionLimits, makeTally, makeThrottle
from wsproxy.limits.throttle import Throttle
from wsproxy.links.once import VERB, Memory, Once, answering, rememberer
from wsproxy.nodes.clerk import Clerk
from wsproxy.nodes.doorman import Door, Doorman, Revocable
from wsproxy.nodes.make import answerNodes, makeClerk, makeDoorman
from wsproxy.nodes.neighbours import Neighbours
from wsproxy.sessions.shares import Shares
from wsproxy.tokens.plugin import locationOf, makeResolver
from wsproxy.tokens.targets import asTarget

if TYPE_CHECKING:
    from wsproxy.links.links import Links

__all__ = ["Common", "Entrance", "answerWorkers", "makeEntrance"]


@dataclass(frozen=True, slots=True)
class Entrance:
    """
    What L{WebSockifyFactory<wsproxy.factory.WebSockifyFactory>} takes under these names.

    @ivar services: what has to be started and stopped with the rest; not the factory's.
    """

    resolver: AnyResolver
    authenticator: AnyAuthenticator | None = None
    authoriser: AnyAuthoriser | None = None
    gates: tuple[AnyGate, ...] = ()
    turnstiles: tuple[AnyTurnstile, ...] = ()
    webAuth: bool = False
    observers: tuple[AnyObserver, ...] = ()
    shownPath: Callable[[Request], str] | None = None
    services: tuple[IService, ...] = ()

    def asKeywords(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "services"}

    def attach(self, proxy: IServiceCollection) -> None:
        """Have C{services} live as long as C{proxy}."""
        for service in self.services:
            service.setServiceParent(proxy)


_NO_LIMITS = LimitsConfig()


class Common:
    """
    What is the same for all routes, and goes on where settings change: who counts sessions and guesses, which links
    were used, whose access was revoked, and the Redis of a cluster. It is made when it is wanted for the first time.

    @param parent: of a worker, which keeps what all of them have in common.
    @ivar isTold: another process has told what there is to tell of the settings.
    @ivar neighbours: the other nodes of the cluster, where this process speaks to them.
    """

    def __init__(self, config: Config, reactor: Any, parent: Parent | None = None) -> None:
        self.services: list[IService] = []
        self._nodes = config.cluster
        self._clustered = config.cluster.url is not None
        self._explaining = config.inspection.explain is not None
        self._reactor = reactor
        self._parent = parent
        self.isTold = parent is not None
        self.neighbours: Neighbours | None = None
        self.cluster: Cluster | None = None
        if config.cluster.url is not None and parent is None:
            self.cluster = joinCluster(reactor, config.cluster.url)
            self.services.append(self.cluster.redis)
        self._limits: dict[str, int] = {}
        self._shares: dict[str, Shares] = {}
        self.limit(config)

    def limit(self, config: Config) -> None:
        """From now on there may be so many sessions as C{config} says."""
        self._limits.clear()
        self._limits |= limitsOf(config.limits)
        for route in config.routes:
            self._limits |= {f"{kind}@{route.name}": most for kind, most in limitsOf(route.config.limits).items()}
        for name, limits in (("", config.limits), *((each.name, each.config.limits) for each in config.routes)):
            if name in self._shares:
                self._shares[name].change(limits.bandwidthPerIdentity)

    def shares(self, limits: LimitsConfig, own: LimitsConfig, route: str) -> tuple[Shares, ...]:
        """@return: what identities share: in all, and, with limits of its C{own}, by this route."""
        rates = {"": limits.bandwidthPerIdentity, **({route: own.bandwidthPerIdentity} if route else {})}
        return tuple(
            self._shares.setdefault(name, Shares(self._reactor, rate)) for name, rate in rates.items() if rate
        )

    def attach(self, proxy: IServiceCollection) -> None:
        """Have what there is by now live as long as C{proxy}."""
        for service in self.services:
            if service.parent is None:
                service.setServiceParent(proxy)

    @cached_property
    def tally(self) -> Tally:
        tally, services = makeTally(
            self._limits, self._reactor, self.cluster, self._parent, self._nodes.required
        )
        self.services[:0] = services
        return tally

    def door(self, tokenOf: Callable[[Request], str | None] | None) -> tuple[Door, ...]:
        """@return: turnstiles and observers of a route, where there is a cluster; none where there is not."""
        return () if self._doorman is None else (self._doorman.door(tokenOf),)

    def guard(self, sessions: Revocable) -> None:
        """Have these end where their access is revoked."""
        if self._doorman is not None:
            self._doorman.guard(sessions)
            if self.cluster is not None:
                self.neighbours = Neighbours(self.cluster, self._doorman.hear)

    @cached_property
    def _doorman(self) -> Doorman | None:
        doorman, services = makeDoorman(self._nodes, self._reactor, self.cluster, self._parent)
        self.services[:0] = services
        return doorman

    @cached_property
    def clerks(self) -> tuple[Clerk, ...]:
        """Observers of all sessions."""
        clerks, services = makeClerk(self._reactor, self.cluster, self._parent, self._clustered)
        self.services[:0] = services
        return clerks

    @cached_property
    def throttle(self) -> Throttle:
        return makeThrottle(self._reactor, self.cluster, self._parent, self._clustered)

    @cached_property
    def once(self) -> Once:
        return rememberer(self.cluster, self._parent, explaining=self._explaining)


def makeEntrance(
    config: Config,
    reactor: Any,
    resolver: AnyResolver | None,
    common: Common,
    own: LimitsConfig = _NO_LIMITS,
    route: str = "",
) -> Entrance:
    """
    @param resolver: where sessions lead where no token says so; L{None}: nowhere.
    @param own: the limits of C{route} alone.
    @raise ConfigError: it cannot be as it is configured.
    """
    limited = partial(_limited, limits=config.limits, common=common, own=own, route=route)
    if config.links.key is not None:
        links = _links(config, common)
        way = Entrance(
            links,
            links,
            turnstiles=(links,),
            webAuth=config.authentication.web,
            shownPath=_shownPath(config.tokens),
        )
        return limited(way, links.token)
    services: list[IService] = []
    tokenOf: Callable[[Request], str | None] | None = None
    if config.tokens.areKnown:
        others = {
            "TokenRedis": partial(_tokenRedis, reactor, services),
            "JWTTokenApi": partial(_signedTokens, config.links),
        }
        resolver = makeResolver(config.tokens, reactor, others, told=common.isTold)
        tokenOf = locationOf(config.tokens).of
    if resolver is None:
        raise ConfigError("--target: where should sessions lead?")
    who = config.authentication
    authenticator: AnyAuthenticator | None = None
    observers: tuple[AnyObserver, ...] = ()
    if who.url is not None:
        from wsproxy.authentication.recheck import makeForwardAuth  # late: an HTTP client, for some

        authenticator, rechecks = makeForwardAuth(who, reactor)
        observers = () if rechecks is None else (rechecks,)
    elif who != _NOBODY:
        from wsproxy.authentication.plugin import makeAuthenticator  # late: 20 ms of twisted.cred, for some

        authenticator, resolver = makeAuthenticator(who, reactor, resolver, tokens=config.tokens.areKnown)
    entrance = Entrance(
        resolver,
        authenticator,
        webAuth=who.web,
        observers=observers,
        shownPath=_shownPath(config.tokens),
        services=tuple(services),
    )
    return limited(entrance, tokenOf)


def _shownPath(tokens: TokensConfig) -> Callable[[Request], str] | None:
    return None if tokens.path is None else locationOf(tokens).shownPath


def _tokenRedis(reactor: Any, services: list[IService], source: str) -> Any:
    from wsproxy.tokens.redis import TokenRedis  # late: for some

    tokens = TokenRedis(source, reactor)
    services.append(tokens.redis)
    return tokens


def _signedTokens(demands: LinksConfig, source: str) -> Any:
    try:
        from wsproxy.tokens.jwt import JWTTokenApi  # late: 50 ms of cryptography, for some
    except ModuleNotFoundError:
        raise ConfigError("--token-plugin JWTTokenApi: needs joserfc: pip install 'wsproxy[jwt]'") from None
    return JWTTokenApi(source, demands.audience, demands.issuer)


def _links(config: Config, common: Common) -> Links:
    """One for all remembers which links were used: the nodes' Redis, the parent of workers, or this process."""
    try:
        from wsproxy.links.make import makeLinks  # late, likewise
    except ModuleNotFoundError:
        raise ConfigError("--link-key: needs joserfc: pip install 'wsproxy[jwt]'") from None
    return makeLinks(config.links, locationOf(config.tokens), asTarget, common.once)


def _limited(
    entrance: Entrance,
    tokenOf: Callable[[Request], str | None] | None,
    *,
    limits: LimitsConfig,
    common: Common,
    own: LimitsConfig,
    route: str,
) -> Entrance:
    """Guesses are counted where there is something to guess: the last gate, so that it hears of all refusals."""
    counting = makeSessionLimits(limits, lambda: common.tally, tokenOf, own, route)
    turnstiles: tuple[AnyTurnstile, ...] = () if counting is None else (counting,)
    gates = entrance.gates
    if entrance.authenticator is not None or tokenOf is not None:
        gates, turnstiles = (*gates, common.throttle), (common.throttle, *turnstiles)
    doors = common.door(tokenOf)
    return replace(
        entrance,
        gates=gates,
        turnstiles=(*doors, *turnstiles, *entrance.turnstiles),
        observers=(*doors, *common.clerks, *entrance.observers),
    )


def answerWorkers(config: Config, reactor: Any, answers: Answers) -> Common:
    """
    Keep, in the parent, what its workers have in common.

    @return: what has to live as long as they do.
    """
    common = Common(config, reactor)
    answerLimits(common.tally, reactor, common.cluster, answers)
    answers.answer(VERB, answering(common.once))
    once = common.once
    if isinstance(once, Memory):
        answers.keep("once", once.state, lambda state, askers: once.resume(state))
    foreman, services = answerNodes(config.cluster, reactor, common.cluster, answers)
    common.services[:0] = services
    if common.cluster is not None and foreman is not None:
        common.neighbours = Neighbours(common.cluster, foreman.hear)
    return common


_NOBODY = AuthenticationConfig()
