"""Settings that change while the proxy runs: read, checked, and only then in force, all of them or none.

::

    SIGHUP ─► read ─► prepare: made, bound, by every worker ─► apply, which cannot fail ─► one line
                └───────────┴─► ConfigError: nothing has changed, and one line says why
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from wsproxy.config import Config, TLSConfig
from wsproxy.errors import ConfigError
from wsproxy.fault import logFault

__all__ = ["Change", "Reader", "Renewal", "distinct", "ofListener", "ownTLS"]


class Change(Protocol):
    """
    What has been read.

    @ivar config: the settings as they are to be.
    @ivar line: what is different, for the log; empty where nothing is.
    """

    @property
    def config(self) -> Config: ...

    @property
    def line(self) -> str: ...

    def accept(self) -> None:
        """It is in force."""

    def located(self, error: ConfigError) -> ConfigError:
        """@return: the same, with the line of a file that it is about."""


class Reader(Protocol):
    """Where settings come from."""

    def read(self) -> Change:
        """@raise ConfigError: they make no sense, or cannot be changed now."""


class Renewal:
    """
    @param reader: L{None} where the settings cannot be read again.
    @param prepare: makes all that the settings need, and fires with what puts it in force; fails with L{ConfigError},
        with nothing left of it.
    @param look: looks at certificates.
    """

    _log = Logger()

    def __init__(
        self,
        reader: Reader | None,
        prepare: Callable[[Config], Deferred[Callable[[], None]]],
        look: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._prepare = prepare
        self._look = look
        self._turn = DeferredLock()

    def __call__(self) -> Deferred[str]:
        """
        Take what has changed, after whoever is at it already.

        @return: fires with the line that says what that was; fails with L{ConfigError} where nothing has changed.
        """
        return self._turn.run(lambda: Deferred.fromCoroutine(self._tell()))

    def settled(self) -> Deferred[None]:
        """@return: fires when nobody is at it any more."""
        return self._turn.run(lambda: None)

    async def _tell(self) -> str:
        try:
            return await self._renew()
        except ConfigError as error:
            self._log.error("Not reloaded, everything is as it was: {error}", error=str(error))
            raise
        except Exception:
            logFault(self._log, "reloading")
            raise ConfigError("not reloaded: see the log") from None

    async def _renew(self) -> str:
        if self._reader is None:
            self._look()
            return "certificates looked at; there is no --config to read again"
        change = self._reader.read()
        if change.line:
            try:
                apply = await self._prepare(change.config)
            except ConfigError as error:
                raise change.located(error) from error
            apply()
            change.accept()
        self._look()
        line = change.line or "nothing has changed"
        self._log.info("Reloaded: {line}", line=line)
        return line


def ofListener(config: Config, name: str) -> Config:
    """@return: what holds where it is listened by this name: it may have a TLS side of its own."""
    tls = ownTLS(config)
    return replace(config, tls=tls[name]) if name in tls else config


def ownTLS(config: Config) -> dict[str, TLSConfig | None]:
    """@return: by the names of listeners that have a TLS side of their own, that."""
    names = [*distinct(config.listening.listen)]
    return {
        name: listener.tls
        for name, listener in zip(names[len(names) - len(config.listeners) :], config.listeners, strict=True)
    }


def distinct(texts: Iterable[str]) -> dict[str, str]:
    """@return: C{--listen} values by names that are each there once, though C{0} may be given twice."""
    named: dict[str, str] = {}
    for text in texts:
        name, count = text, 1
        while name in named:
            count += 1
            name = f"{text} ({count})"
        named[name] = text
    return named
