"""The arguments of an endpoint string, as Twisted has split it: C{prefix:WORD:name=value:…}."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from wsproxy.errors import ConfigError
from wsproxy.websocket.request import TOKEN

__all__ = ["Arguments"]

_FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


class Arguments:
    """
    Those of one string. What is taken of them is taken once; L{finish} complains of what is left.

    @param prefix: for complaints.
    @param words: those without a name.
    @param places: the names of these, in order.
    @raise ConfigError: there are too many words.
    """

    def __init__(self, prefix: str, words: Sequence[str], named: Mapping[str, str], places: Sequence[str]) -> None:
        self._prefix = prefix
        if len(words) > len(places):
            raise self.error(f"{len(places)} at most without a name: {', '.join(places)}. Is a colon not escaped?")
        self._left = {**dict(zip(places, words, strict=False)), **named}

    def error(self, why: str) -> ConfigError:
        return ConfigError(f"{self._prefix} {why}")

    def take(self, name: str) -> str | None:
        return self._left.pop(name, None)

    def listed(self, name: str) -> tuple[str, ...] | None:
        """
        Several values, with commas between.

        @raise ConfigError: one of them is empty. A list that has lost what it had would mean anybody, or the default.
        """
        value = self.take(name)
        values = None if value is None else tuple(map(str.strip, value.split(",")))
        if values is not None and not all(values):
            raise self.error(f"{name}=: empty, or with nothing between two commas; leave it out for the default")
        return values

    def tokens(self, name: str) -> tuple[str, ...] | None:
        """Likewise, of names such as subprotocols have (RFC 9110 section 5.6.2)."""
        values = self.listed(name)
        for value in values or ():
            if not TOKEN.fullmatch(value):
                raise self.error(f"{name}={value}: not a name")
        return values

    def filled(self, name: str) -> str | None:
        """@raise ConfigError: it is empty."""
        value = self.take(name)
        if value == "":
            raise self.error(f"{name}=: empty")
        return value

    def flag(self, name: str) -> bool | None:
        value = self.take(name)
        if value is not None and value.lower() not in _FLAGS:
            raise self.error(f"{name}= is yes or no")
        return None if value is None else _FLAGS[value.lower()]

    def seconds(self, name: str) -> float | None:
        value = self.take(name)
        try:
            seconds = None if value is None else float(value)
        except ValueError:
            seconds = -1.0
        if seconds is not None and not 0 <= seconds < float("inf"):
            raise self.error(f"{name}= is a number of seconds")
        return seconds

    def number(self, name: str, most: int) -> int | None:
        value = self.take(name)
        if value is not None and not (value.isascii() and value.isdigit() and 0 < int(value) <= most):
            raise self.error(f"{name}= is a number up to {most}")
        return None if value is None else int(value)

    def secret(self, name: str) -> str | None:
        """
        The value, or what C{@FILE} holds or C{env:NAME} names.

        @raise ConfigError: there it is not, or it is empty.
        """
        value = self.take(name)
        if value is not None and not (value := self._revealed(name, value)):
            raise self.error(f"{name}=: empty")
        return value

    def secrets(self, name: str) -> list[str]:
        """Those of C{name}, C{name1}, C{name2} and so on."""
        names = sorted(each for each in self._left if each.rstrip("0123456789") == name)
        return [self._revealed(each, self._left.pop(each)) for each in names]

    def _revealed(self, name: str, value: str) -> str:
        try:
            if value.startswith("@"):
                with open(value[1:], encoding="utf-8") as stream:
                    return stream.read().rstrip("\r\n")
            return os.environ[value[4:]] if value.startswith("env:") else value
        except KeyError:
            raise self.error(f"{name}={value}: not in the environment") from None
        except OSError as error:
            raise self.error(f"{name}={value}: {error.strerror}") from None
        except ValueError:
            raise self.error(f"{name}={value}: not a text file") from None

    def finish(self) -> None:
        """@raise ConfigError: something is left."""
        if self._left:
            raise self.error(f"has no {next(iter(self._left))}=")
