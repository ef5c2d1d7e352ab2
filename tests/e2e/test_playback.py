"""A recorded desktop, played back in a browser to its last frame."""

from __future__ import annotations

import os
import shutil
import sys
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import TestCase

from tests.e2e.browser import Browser, openBrowser
from tests.e2e.desktop import WINDOW_COLOUR, startDesktop
from tests.e2e.picture import Picture
from tests.e2e.proxy import startProxy
from tests.e2e.test_desktop import INK, STATUS, eventually, webRoot
from tests.integration.twistd import start

# noVNC takes its canvas out of the page as soon as a session is over.
KEEP = """
(keep => {
    keep();
    new MutationObserver(keep).observe(document.body, {childList: true, subtree: true});
})(() => { window.kept ??= document.querySelector('canvas'); })
"""
PIXELS = """
(canvas => {
    const {width, height} = canvas;
    const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
    const reader = new FileReader();
    return new Promise(resolve => {
        reader.onload = () => resolve([width, height, reader.result.split(',')[1]]);
        reader.readAsDataURL(new Blob([data]));
    });
})(window.kept)
"""
CLOSED = "document.getElementById('status').textContent == 'Closed'"


@dataclass(frozen=True)
class Session:
    """One that was recorded. C{last} is the last frame that its client showed."""

    path: Path
    last: Picture


async def frame(browser: Browser) -> Picture:
    """What noVNC shows, or showed last."""
    width, height, pixels = await browser.evaluate(PIXELS)
    return Picture.fromBytes(width, height, b64decode(pixels))


class PlaybackTests(TestCase):
    timeout = 90.0

    async def record(self, browser: Browser, web: Path) -> Session:
        """Open a desktop by the page in this root, and write something on it."""
        desktop = await startDesktop(self)
        desktop.startTerminal(self)
        path = Path(self.mktemp()).absolute()
        words = ["--target", f"127.0.0.1:{desktop.port}", "--web", str(web), "--record", str(path)]
        proxy = await startProxy(self, *words)
        await browser.open(proxy.url("http", "/desktop.html"))
        await browser.until(STATUS)
        await browser.evaluate(KEEP)
        before = await eventually(lambda: frame(browser), lambda shown: shown.share(WINDOW_COLOUR) > 0.2)
        await browser.click("canvas")
        await browser.type("Roll the film! Camera, action, cut, and once more.")
        written = before.share(WINDOW_COLOUR) - INK
        await eventually(lambda: frame(browser), lambda shown: shown.share(WINDOW_COLOUR) < written)
        await proxy.process.stop()
        await browser.until(CLOSED)
        last = await frame(browser)
        self.assertTrue(0.2 < last.share(WINDOW_COLOUR) < written)
        return Session(path.with_name(f"{path.name}.1"), last)

    async def test_target(self) -> None:
        """Played by C{wsproxy-replay} as a target of the proxy, a recording ends as the session did."""
        browser = openBrowser(self)
        web = webRoot(self)
        session = await self.record(browser, web)
        words = ["serve", "--listen", "127.0.0.1:0", str(session.path)]
        server = start(self, [sys.executable, "-m", "wsproxy.replay", *words])
        target = (await server.line(r"on (127\.0\.0\.1:\d+)"))[1]
        proxy = await startProxy(self, "--target", target, "--web", str(web))
        await browser.open(proxy.url("http", "/desktop.html"))
        await browser.evaluate(KEEP)
        await browser.until(CLOSED)
        self.assertEqual((await frame(browser)).difference(session.last), 0)

    async def test_page(self) -> None:
        """
        So does noVNC's own playback page. It is not in noVNC's package: WSPROXY_NOVNC names its sources.
        """
        sources = os.environ.get("WSPROXY_NOVNC")
        if sources is None:
            raise SkipTest("WSPROXY_NOVNC names no sources of noVNC")
        browser = openBrowser(self)
        session = await self.record(browser, webRoot(self, Path(sources)))
        root = Path(self.mktemp()).absolute()
        shutil.copytree(sources, root)
        (root / "recordings").mkdir()
        shutil.copy(session.path, root / "recordings")
        proxy = await startProxy(self, "--target", "demo:", "--web", str(root))
        page = f"/tests/vnc_playback.html?data={session.path.name}&iterations=1"
        for mode in ("perftest", "realtime"):
            await browser.open(proxy.url("http", f"{page}&mode={mode}"))
            await browser.until("!document.getElementById('startButton').disabled")
            await browser.evaluate(KEEP)
            await browser.click("#startButton")
            messages = await browser.until(
                "(text => /iterations took|disconnected/.test(text) && text)"
                "(document.getElementById('messages').textContent)"
            )
            self.assertIn("1 iterations took", messages)
            self.assertEqual((await frame(browser)).difference(session.last), 0)
