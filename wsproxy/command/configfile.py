"""A file of settings (C{--config}): TOML, in which options have the names that they have on the command line.

::

    heartbeat = 20               a word, a number; true for a flag
    listen = ["443", "80"]       what is repeatable

    [[listener]]                 one of several places where to listen, with a TLS side of its own
    listen = "8443"
    cert = "other.pem"

    [[route]]                    one of several ways in; what is above holds there, too, unless it says otherwise
    host = "vnc.example.com"
    path = "/desk/"
    target = "desk:5900"

tomllib tells of no lines but in its own complaints. So the file is read twice: as a whole, and then statement by
statement, each of which ends with the first line behind which it is one.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from wsproxy.command.given import Given, Origin
from wsproxy.command.options import TABLE
from wsproxy.errors import ConfigError, Refusal
from wsproxy.escape import escape
from wsproxy.sessions.routes import plainHost, plainPath

__all__ = ["FileListener", "FileRoute", "Settings", "readSettings"]

_OPTIONS = {option.name: option for option in TABLE}

_ROUTE, _LISTENER = "route", "listener"

_SECTIONS = (f"[[{_LISTENER}]]", f"[[{_ROUTE}]]")

_NOT_HERE = ("config", "print-config", "check", "explain", "explain-header", "explain-client")
"""What is about one call of the program."""

_OF_ROUTES = ("target", "tokens", "sessions", "authentication", "links", "access", "limits", "recording", "proxies")
"""Groups that a route may have something of."""

_NOT_OF_ROUTES = ("trusted-proxy", "no-pump")

_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")

_ENCODED = re.compile("%[0-9A-Fa-f]{2}")

LARGEST = 4 << 20
"""Bytes of a file that is read."""


@dataclass(frozen=True, slots=True)
class FileRoute:
    """
    One C{[[route]]}.

    @ivar given: what it says itself.
    @ivar origin: where it begins.
    """

    host: str | None
    path: str
    given: Given
    origin: Origin


@dataclass(frozen=True, slots=True)
class FileListener:
    """
    One C{[[listener]]}.

    @ivar given: what it says itself: where to listen, and options of TLS.
    @ivar origin: where it begins.
    """

    given: Given
    origin: Origin


@dataclass(frozen=True, slots=True)
class Settings:
    """
    What a file says: for everybody, for some of its listeners, and for its routes.

    @ivar file: its absolute path; L{None}: there is none.
    """

    given: Given = field(default_factory=Given)
    listeners: tuple[FileListener, ...] = ()
    routes: tuple[FileRoute, ...] = ()
    file: str | None = None


@dataclass(frozen=True, slots=True)
class _Statement:
    line: int
    values: dict[str, Any]
    header: str


def readSettings(path: str) -> Settings:
    """
    @param path: absolute.
    @raise ConfigError: it cannot be read, or means nothing; with the line.
    """
    text, seen = _read(path)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"\(at line (\d+), column \d+\)$", str(error))
        number = int(line[1]) if line else text.count("\n") + 1
        why = str(error).partition(" (at ")[0]
        hint = "; words need quotes" if why == "Invalid value" else ""
        raise ConfigError(f"{path}:{number}: {why}{hint}") from None
    except _HOSTILE as error:
        raise ConfigError(f"{path}:{_lineOf(text)}: {_why(error)}") from None
    try:
        return _Reader(path, seen).read(text)
    except RecursionError as error:  # it was not deep enough before
        raise ConfigError(f"{path}:{_lineOf(text)}: {_why(error)}") from None


_HOSTILE = (RecursionError, ValueError)
"""What tomllib raises of brackets in thousands, and of digits in thousands, beside complaints of its own."""


def _why(error: Exception) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else "a number with too many digits"


def _lineOf(text: str) -> int:
    """@param text: something is wrong with it that L{tomllib} tells no line of."""
    lines, first = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        lines, first = (f"{lines}{line}\n", first) if lines else (f"{line}\n", number)
        try:
            tomllib.loads(lines)
            lines = ""
        except tomllib.TOMLDecodeError:
            continue
        except _HOSTILE:
            break
    return first


def _read(path: str) -> tuple[str, bool]:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:  # nobody waits for a FIFO's other end
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(0, "not a regular file")
            data = stream.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise OSError(0, f"more than {LARGEST >> 20} MiB")
        return data.decode("utf-8-sig").replace("\r\n", "\n"), bool(status.st_mode & 0o004)
    except OSError as error:
        raise ConfigError(f"--config {escape(path, None)}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8") from None


def _statements(text: str) -> Iterator[_Statement]:
    """@param text: TOML, as a whole."""
    header, lines, first = "", "", 0
    for number, line in enumerate(text.split("\n"), 1):
        lines, first = (f"{lines}{line}\n", first) if lines else (f"{line}\n", number)
        try:
            values = tomllib.loads(lines)
        except tomllib.TOMLDecodeError:
            continue
        if lines.lstrip().startswith("["):
            header = "".join(lines.split("#")[0].split())
            yield _Statement(first, {}, header)
        elif values:
            yield _Statement(first, values, header)
        lines = ""


class _Reader:
    def __init__(self, path: str, seen: bool) -> None:
        self._path = path
        self._seen = seen
        self._top = Given()
        self._sections: list[tuple[str, Given, Origin]] = []

    def read(self, text: str) -> Settings:
        for statement in _statements(text):
            origin = Origin(self._path, statement.line, self._seen)
            if not statement.values:
                self._open(statement.header, origin)
            for name, value in statement.values.items():
                header = f"[[{name}]]"
                if statement.header:
                    self._say(self._sections[-1][1], name, value, origin, statement.header)
                elif header in _SECTIONS and isinstance(value, list) and all(isinstance(each, dict) for each in value):
                    self._inline(header, value, origin)
                else:
                    self._say(self._top, name, value, origin, "")
        listeners = tuple(self._listener(given, at) for header, given, at in self._sections if _LISTENER in header)
        routes = tuple(self._route(given, at) for header, given, at in self._sections if _ROUTE in header)
        self._checkTwice(routes)
        return Settings(self._top, listeners, routes, self._path)

    def _open(self, header: str, origin: Origin) -> None:
        if header not in _SECTIONS:
            hint = f"; say it as [{header}]" if f"[{header}]" in _SECTIONS else ""
            raise ConfigError(f"{origin}: {escape(header)}: unknown; sections are {' and '.join(_SECTIONS)}{hint}")
        self._sections.append((header, Given(), origin))

    def _inline(self, header: str, sections: list[dict[str, Any]], origin: Origin) -> None:
        for values in sections:
            self._open(header, origin)
            for name, value in values.items():
                self._say(self._sections[-1][1], name, value, origin, header)

    def _say(self, given: Given, name: str, value: Any, origin: Origin, header: str) -> None:
        if header == _SECTIONS[1] and name in ("host", "path"):
            if not isinstance(value, str):
                raise ConfigError(f"{origin}: {name}: expected a string")
            given[name] = value
        else:
            self._checkName(name, origin, header)
            given[name] = _word(name, value, origin)
        given.origins[name] = origin

    def _checkName(self, name: str, origin: Origin, header: str) -> None:
        option = _OPTIONS.get(name)
        if option is None or name in _NOT_HERE:
            hint = f"; say it as [[{name}]]" if f"[[{name}]]" in _SECTIONS else ""
            raise ConfigError(f"{origin}: {escape(name)}: {'not for a file' if option else 'unknown'}{hint}")
        if header == _SECTIONS[1] and (option.path[0] not in _OF_ROUTES or name in _NOT_OF_ROUTES):
            raise ConfigError(f"{origin}: {name}: not for a route; say it above all sections")
        if header == _SECTIONS[0] and name != "listen" and option.path[0] != "tls":
            raise ConfigError(f"{origin}: {name}: not for a listener; say it above all sections")

    def _listener(self, given: Given, origin: Origin) -> FileListener:
        if not given.get("listen"):
            raise ConfigError(f"{origin}: a listener without listen")
        return FileListener(given, origin)

    def _route(self, given: Given, origin: Origin) -> FileRoute:
        host, path = given.pop("host", None), given.pop("path", "/")
        if host is not None and not _HOST.fullmatch(host):
            raise ConfigError(f"{given.origins['host']}: host {escape(host)}: expected a name in lower case, no port")
        problem = not path.startswith("/") or "?" in path or _ENCODED.search(path) is not None
        try:
            plainPath(path.replace("%", "%25"))
        except Refusal:
            problem = True
        if problem:
            why = "expected /PATH, decoded, without %XX, . and .., //, and backslashes"
            raise ConfigError(f"{given.origins['path']}: path {escape(path)}: {why}")
        return FileRoute(None if host is None else plainHost(host), path, given, origin)

    def _checkTwice(self, routes: tuple[FileRoute, ...]) -> None:
        seen: dict[tuple[str | None, str], FileRoute] = {}
        for route in routes:
            place = route.host, route.path.rstrip("/")
            if place in seen:
                where = f"{route.host or 'any host'} and {route.path}"
                raise ConfigError(
                    f"{route.origin}: a second route for {where}; the first is in line {seen[place].origin.line}"
                )
            seen[place] = route


def _word(name: str, value: Any, origin: Origin) -> Any:
    """What a command line would have for this value."""
    option = _OPTIONS[name]
    if value is False:
        return False
    if not option.kind.placeholder:
        if value is not True:
            raise ConfigError(f"{origin}: {name}: expected true or false")
        return True
    if option.repeatable:
        values = value if isinstance(value, list) else [value]
        if not values:  # of an allow that has lost its last line, nobody thinks that it lets everybody in
            raise ConfigError(f"{origin}: {name}: an empty list; false takes back what is said elsewhere")
        return [_scalar(name, each, origin, "a string, or a list of strings") for each in values]
    return _scalar(name, value, origin, "a string or a number")


def _scalar(name: str, value: Any, origin: Origin, expected: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ConfigError(f"{origin}: {name}: expected {expected}")
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{origin}: {name}: has a null character")
    try:
        return str(value)
    except ValueError:  # one in hexadecimal digits may have any number of them
        raise ConfigError(f"{origin}: {name}: a number with too many digits") from None
