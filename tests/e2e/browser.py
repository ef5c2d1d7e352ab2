"""A headless Chromium or Firefox, told what to do through C{driver.js}."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from collections import deque
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.components import require, requireComponent
from tests.e2e.picture import Picture
from tests.integration.twistd import ROOT

__all__ = ["NODE_MODULES", "PAGES", "Browser", "openBrowser"]

DRIVER = Path(__file__).with_name("driver.js")
NODE_MODULES = Path(__file__).with_name("node_modules")
PAGES = Path(__file__).with_name("pages")
"""What C{--web} may serve to it."""
PROGRAMS = {"chromium": ("chromium",), "firefox": ("firefox-esr", "firefox")}
ARTIFACTS = ROOT / "artifacts"


class Browser(ProcessProtocol):
    """
    One page at a time. Expressions are JavaScript, awaited where they are promises; values come as JSON.

    @ivar ended: fires when it is gone.
    """

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()
        self._answers: deque[Deferred[Any]] = deque()
        self._received = b""
        self._complaints = b""

    async def open(self, url: str) -> dict[str, Any]:
        """
        Load a page over new connections, whatever its certificate.

        @return: its C{status}, and the C{subject} of the certificate if there was one.
        """
        page: dict[str, Any] = await self._ask("open", url)
        return page

    def evaluate(self, expression: str) -> Deferred[Any]:
        """The value of C{expression} in the page."""
        return self._ask("evaluate", expression)

    def until(self, expression: str) -> Deferred[Any]:
        """The value of C{expression} in the page, once that is true in JavaScript's sense."""
        return self._ask("until", expression)

    def complaints(self) -> Deferred[Any]:
        """What the page has been refused, and what it has not caught, a line each."""
        return self._ask("complaints")

    def display(self, width: int, height: int, scheme: str) -> Deferred[Any]:
        """Give the page a window of this size, in CSS pixels, C{"dark"} or C{"light"}; in Firefox always light."""
        return self._ask("display", width, height, scheme)

    def reload(self) -> Deferred[Any]:
        """Load the page again, as by its button: forms keep what the browser keeps of them."""
        return self._ask("reload")

    async def asksBeforeItGoes(self) -> bool:
        """Whether the page, told to close as by Ctrl+W, asks first; then it stays. If not, it is gone."""
        return bool(await self._ask("asksBeforeItGoes"))

    async def work(self) -> float:
        """What the page has cost since it was opened, in seconds of its main thread (Chromium only)."""
        return float(await self._ask("work"))

    def click(self, selector: str) -> Deferred[Any]:
        """Click in the middle of an element."""
        return self._ask("click", selector)

    def doubleClick(self, selector: str) -> Deferred[Any]:
        """The same, twice at once."""
        return self._ask("doubleClick", selector)

    def type(self, text: str) -> Deferred[Any]:
        """Press and release the keys that make C{text}."""
        return self._ask("type", text)

    def press(self, key: str) -> Deferred[Any]:
        """Press and release one key, by its DOM name."""
        return self._ask("press", key)

    async def screenshot(self, selector: str, name: str) -> Picture:
        """What an element looks like now; kept as C{artifacts/NAME.png}, too."""
        shot = await self._ask("screenshot", selector, str(ARTIFACTS / f"{name}.png"))
        return Picture.fromBytes(shot["width"], shot["height"], b64decode(shot["pixels"]))

    def _ask(self, *words: str | int) -> Deferred[Any]:
        """
        @return: the answer.
        @raise AssertionError: the browser could not, or is gone.
        """
        assert self.transport is not None
        answer: Deferred[Any] = Deferred()
        self._answers.append(answer)
        if self.ended.called:
            self._giveUp()
        self.transport.write(json.dumps(words).encode() + b"\n")
        return answer

    def _giveUp(self) -> None:
        last = AssertionError(f"the browser is gone: {self._complaints.decode(errors='replace')}")
        while self._answers:
            self._answers.popleft().errback(last)

    def outReceived(self, data: bytes) -> None:
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            asked = self._answers.popleft()
            if "error" in answer:
                asked.errback(AssertionError(answer["error"]))
            else:
                asked.callback(answer["value"])

    def errReceived(self, data: bytes) -> None:
        self._complaints += data

    def processEnded(self, reason: Failure) -> None:
        self._giveUp()
        self.ended.callback(None)

    def close(self) -> Deferred[None]:
        assert self.transport is not None
        self.transport.closeStdin()
        return self.ended


def openBrowser(test: TestCase, kind: str = "chromium") -> Browser:
    """
    Start a browser that lasts as long as the test.

    @param kind: C{"chromium"} or C{"firefox"}.

    @raise SkipTest: there is none, or what drives it is not installed.
    """
    require("npm ci in tests/e2e", NODE_MODULES.exists)
    program = requireComponent(*PROGRAMS[kind])
    command = [requireComponent("node"), str(DRIVER), kind, program]
    browser = Browser()
    reactor.spawnProcess(browser, command[0], command, os.environ)
    test.addCleanup(browser.close)
    return browser
