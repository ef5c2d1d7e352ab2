"""Where requests lead: L{IResolver<wsproxy.interfaces.IResolver>}s."""

from __future__ import annotations

from zope.interface import implementer

from wsproxy.interfaces import Identity, IResolver, Request, Target

__all__ = ["FixedResolver"]


@implementer(IResolver)
class FixedResolver:
    """Every request leads to the one target."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def resolve(self, request: Request, identity: Identity | None) -> Target:
        return self._target
