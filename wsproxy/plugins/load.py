"""Plugins by their names: ours, or with a dot any class that can be imported.

What is wrong with somebody's class is told at the start, in one line: that it cannot be imported, is no class, or
raises when it is made. What it is given, its C{source}, may be a secret, and is left out of what it raises.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import traceback
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from wsproxy.access.redaction import withoutSecrets
from wsproxy.errors import ConfigError
from wsproxy.escape import escape
from wsproxy.plugins.alias import Alias, isOriginals

__all__ = ["load", "takesTarget"]

_SHOWN = 300
"""Characters of what somebody's class has to say."""


def load(name: str, builtin: Mapping[str, Callable[..., Any]], option: str = "--token-plugin") -> Callable[..., Any]:
    """
    @param name: of one of ours, or C{module.Class}; the original's own modules name ours, too.
    @param builtin: ours.
    @param option: by which it was given, for complaints.
    @return: what makes the plugin: ours as it is; of others, a call with the source, which raises L{ConfigError} where
        they raise anything.
    @raise ConfigError: there is no such class, in one line.
    """
    module, _, kind = name.rpartition(".")
    if kind in builtin and (not module or isOriginals(module)):
        return builtin[kind]
    if not module:
        known = ", ".join(builtin)
        raise ConfigError(f"{option} {escape(name)}: not one of {known}, nor package.module.Class")
    return partial(_make, _find(name, option), f"{option} {escape(name)}")


def _find(name: str, option: str) -> type[Any]:
    """
    @param name: C{module.Class}.
    @raise ConfigError: there is none, or it is something else.
    """
    module, _, kind = name.rpartition(".")
    with Alias() as alias:
        try:
            found = getattr(importlib.import_module(module), kind, None)
        except BaseException as error:  # sys.exit() at the top of a module, too
            raise ConfigError(f"{option} {escape(name)}: cannot import {escape(module)}: {_told(error)}") from None
        if found is None:
            raise ConfigError(f"{option} {escape(name)}: {escape(module)} has no {escape(kind)}")
        if not isinstance(found, type):
            raise ConfigError(f"{option} {escape(name)}: not a class, but {type(found).__name__}")
        if _isOld(found):
            alias.keep()
    return found


def _make(kind: type[Any], named: str, source: str | None) -> Any:
    _provideLoop()
    try:
        return kind(source)
    except BaseException as error:
        told = withoutSecrets(_told(error), source)
        raise ConfigError(f"{named}: {told}") from None


def _isOld(kind: type[Any]) -> bool:
    """Whether a class is one of the original's contract, by what it can be asked."""
    if hasattr(kind, "lookup") and not hasattr(kind, "resolve"):
        return True
    method = getattr(kind, "authenticate", None)
    return method is not None and takesTarget(partial(method, None))


def takesTarget(authenticate: Callable[..., Any]) -> bool:
    """Whether this method is called as the original calls it: with headers, and the target's host and port."""
    try:
        inspect.signature(authenticate).bind(headers=None, target_host=None, target_port=None)
    except (TypeError, ValueError):
        return False
    return True


def _provideLoop() -> None:
    """Constructors keep what C{get_event_loop} returns, which from Python 3.14 on makes none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            asyncio.get_event_loop()
        except RuntimeError:
            asyncio.set_event_loop(asyncio.new_event_loop())


def _told(error: BaseException) -> str:
    """One line: what was raised, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = next((f" ({frame.filename}:{frame.lineno})" for frame in reversed(frames) if _isTheirs(frame)), "")
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return escape(" ".join(text.split()), _SHOWN) + escape(where, None)


def _isTheirs(frame: traceback.FrameSummary) -> bool:
    return frame.filename not in (__file__, importlib.__file__) and not frame.filename.startswith("<frozen importlib")
