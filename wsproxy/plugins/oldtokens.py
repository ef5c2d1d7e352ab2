"""Token classes of the original's contract: made with a source, and asked C{lookup(token)} while nobody waits for them.

What they answer is as it was there: host and port in a tuple or a list, the port a C{str}, C{int} or C{bytes}; the host
C{unix_socket} with a path for a port; L{None} for a token that they do not know.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from wsproxy.errors import ConfigError
from wsproxy.plugins.blocking import BlockingPlugin, finished

__all__ = ["OldTokens", "asTokenPlugin"]


class OldTokens:
    """
    @param plugin: of which C{lookup} is called, in several threads at a time.
    @param name: for the log.
    """

    def __init__(self, plugin: Any, name: str, reactor: Any) -> None:
        self._ask = plugin.lookup
        self._calls = BlockingPlugin(name, reactor)
        self._kind: type = str

    def lookup(self, token: str) -> Deferred[Any]:
        """
        @return: fires with the class's answer, whatever that is; fails with L{Refusal}, a 503, where it has none.
        """
        asked = self._calls.call(lambda: finished(self._ask(token)), lambda: (token,), lambda error: None)
        return asked.addCallback(self._learn)

    def portAs(self, port: str) -> str | int | bytes:
        """@return: this port as the class answers ports: one and the same way, the last one's."""
        if self._kind is bytes:
            return port.encode("ascii")
        return int(port) if self._kind is int else port

    def _learn(self, answer: Any) -> Any:
        if isinstance(answer, (tuple, list)) and len(answer) == 2 and type(answer[1]) in (str, int, bytes):
            self._kind = type(answer[1])
        return answer


def asTokenPlugin(plugin: Any, name: str, reactor: Any) -> Any:
    """
    @param plugin: an instance of somebody's class.
    @param name: for the log and for complaints, such as C{--token-plugin package.module.Class}.
    @return: a resolver, which is one of the new contract; else L{OldTokens}.
    @raise ConfigError: it can be asked neither way.
    """
    if callable(getattr(plugin, "resolve", None)):
        return plugin
    if callable(getattr(plugin, "lookup", None)):
        return OldTokens(plugin, name, reactor)
    if callable(plugin):
        return plugin
    raise ConfigError(f"{name}: has neither a method resolve() nor lookup()")
