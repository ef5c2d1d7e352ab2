"""Where requests have their tokens, as the settings of the moment say, so that sessions can be found by them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wsproxy.config import Config
from wsproxy.interfaces import Request
from wsproxy.links.cookie import cookieName
from wsproxy.tokens.plugin import locationOf

__all__ = ["TokenPlaces"]

_Place = Callable[[Request], str | None]


class TokenPlaces:
    """
    @param current: the settings that are in force.
    """

    def __init__(self, current: Callable[[], Config]) -> None:
        self._current = current
        self._known: Config | None = None
        self._places: tuple[_Place, ...] = ()

    def of(self, request: Request) -> str | None:
        """@return: the token; L{None} where there is none."""
        config = self._current()
        if config is not self._known:
            self._known, self._places = config, tuple(_placesIn(config))
        return next(filter(None, (place(request) for place in self._places)), None)


def _placesIn(config: Config) -> Iterator[_Place]:
    """Those of whoever knows tokens, of each route: see L{wsproxy.entrance}."""
    for each in (config, *(route.config for route in config.routes)):
        if each.tokens.areKnown or each.links.key is not None:
            yield locationOf(each.tokens).of
        if each.links.key is not None:
            yield _cookie


def _cookie(request: Request) -> str | None:
    return request.cookies.get(cookieName(request.publicSecure))
