"""Those who decide about clients, as the settings have them: the wiring diagram of the way in.

::

    gates ─► origin ─► authenticator ─► resolver ─► authoriser ─► turnstiles ─► a session
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, IServiceCollection

from wsproxy.cluster.cluster import Cluster, joinCluster
from wsproxy.cluster.parent import Answers, Parent
from wsproxy.config import AuthenticationConfig, Config, LinksConfig, TokensConfig
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
from wsproxy.limits.make import answerLimits, makeSessionLimits, makeThrottle
from wsproxy.links.once import VERB, answering, rememberer
from wsproxy.tokens.plugin import locationOf, makeResolver
from wsproxy.tokens.targets import asTarget

if TYPE_CHECKING:
    from wsproxy.links.links import Links

__all__ = ["Entrance", "answerWorkers", "makeEntrance"]


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


def makeEntrance(
    config: Config, reactor: Any, resolver: AnyResolver | None, parent: Parent | None = None
) -> Entrance:
    """
    @param resolver: where sessions lead where no token says so; L{None}: nowhere.
    @param parent: of a worker, which keeps what all of them have in common.
    @raise ConfigError: it cannot be as it is configured.
    """
    cluster = _cluster(config, reactor) if parent is None else None
    if config.links.key is not None:
        links = _links(config, cluster, parent)
        way = Entrance(
            links,
            links,
            turnstiles=(links,),
            webAuth=config.authentication.web,
            shownPath=_shownPath(config.tokens),
        )
        return _limited(way, config, reactor, links.token, cluster, parent)
    services: list[IService] = []
    tokenOf: Callable[[Request], str | None] | None = None
    if config.tokens.areKnown:
        others = {
            "TokenRedis": partial(_tokenRedis, reactor, services),
            "JWTTokenApi": partial(_signedTokens, config.links),
        }
        resolver = makeResolver(config.tokens, reactor, others, told=parent is not None)
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
    return _limited(entrance, config, reactor, tokenOf, cluster, parent)


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
        raise ConfigError("--token-plugin JWTTokenApi: needs joserfc: pip install wsproxy[jwt]") from None
    return JWTTokenApi(source, demands.audience, demands.issuer)


def _links(config: Config, cluster: Cluster | None, parent: Parent | None) -> Links:
    """One for all remembers which links were used: the nodes' Redis, the parent of workers, or this process."""
    try:
        from wsproxy.links.make import makeLinks  # late, likewise
    except ModuleNotFoundError:
        raise ConfigError("--link-key: needs joserfc: pip install wsproxy[jwt]") from None
    once = rememberer(cluster, parent, explaining=config.inspection.explain is not None)
    return makeLinks(config.links, locationOf(config.tokens), asTarget, once)


def _cluster(config: Config, reactor: Any) -> Cluster | None:
    return None if config.cluster.url is None else joinCluster(reactor, config.cluster.url)


def _limited(
    entrance: Entrance,
    config: Config,
    reactor: Any,
    tokenOf: Callable[[Request], str | None] | None,
    cluster: Cluster | None,
    parent: Parent | None,
) -> Entrance:
    """Guesses are counted where there is something to guess: the last gate, so that it hears of all refusals."""
    limits, services = makeSessionLimits(config.limits, reactor, tokenOf, cluster, parent)
    turnstiles: tuple[AnyTurnstile, ...] = () if limits is None else (limits,)
    gates = entrance.gates
    if entrance.authenticator is not None or tokenOf is not None:
        throttle = makeThrottle(reactor, cluster, parent, config.cluster.url is not None)
        gates, turnstiles = (*gates, throttle), (throttle, *turnstiles)
    return replace(
        entrance,
        gates=gates,
        turnstiles=(*turnstiles, *entrance.turnstiles),
        services=(*entrance.services, *services, *(() if cluster is None else (cluster.redis,))),
    )


def answerWorkers(config: Config, reactor: Any, answers: Answers) -> tuple[IService, ...]:
    """
    Keep, in the parent, what its workers have in common.

    @return: what has to be started and stopped with them.
    """
    cluster = _cluster(config, reactor)
    services = answerLimits(config.limits, reactor, cluster, answers)
    if config.links.key is not None:
        answers.answer(VERB, answering(rememberer(cluster)))
    return services if cluster is None else (*services, cluster.redis)


_NOBODY = AuthenticationConfig()
