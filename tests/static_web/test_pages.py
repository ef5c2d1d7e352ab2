"""Tests of L{wsproxy.static_web.pages}."""

from __future__ import annotations

import json
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from tests.static_web.test_files import FilesTestCase
from wsproxy.static_web.pages import kindOf, makePages

LANDING = b"<title>wsproxy</title>"


class KindTests(SynchronousTestCase):
    def test_wellKnownPorts(self) -> None:
        """A port that a protocol is known by tells the kind, with TLS too."""
        kinds = {
            "demo:": "demo",
            "host.example:23": "telnet",
            "[::1]:5900": "vnc",
            "10.0.0.1:5999": "vnc",
            "irc.example:6667": "irc",
            "tls:irc.example:6697": "irc",
        }
        self.assertEqual({target: kindOf(target) for target in kinds}, kinds)

    def test_others(self) -> None:
        """What else there is, or nothing fixed, is just another server."""
        for target in ("host.example:80", "unix:/run/5900", "tcp:host=h:port=5900", "not a target", None):
            self.assertEqual(kindOf(target), "other", target)


class PagesTests(FilesTestCase):
    async def serveOwn(self, web: str | None = None, target: str = "vnc", own: bool = True) -> None:
        pages = makePages(web, index="index.html", listing=None, own=own, target=target)
        assert isinstance(pages, Resource)
        await self.serve(pages)

    async def policy(self, path: str) -> dict[str, str]:
        """The content security policy of a page, by directive."""
        value = (await self.ask(path)).headers["content-security-policy"]
        return {name: rest for name, _, rest in (part.partition(" ") for part in value.split("; "))}

    async def test_root(self) -> None:
        """Without a directory of the operator's, they are at the root."""
        await self.serveOwn()
        self.assertIn(LANDING, (await self.ask("/")).body)
        self.assertEqual((await self.ask("/wstelnet.html")).status, 200)

    async def test_beside(self) -> None:
        """With one they are under /wsproxy/, and everything else is the operator's."""
        await self.serveOwn(str(self.top))
        self.assertIn(LANDING, (await self.ask("/wsproxy/")).body)
        self.assertEqual((await self.ask("/")).body, b"<p>index</p>")
        self.assertEqual((await self.ask("/wsproxy.json")).status, 404)
        self.assertEqual(json.loads((await self.ask("/wsproxy/wsproxy.json")).body), {"target": "vnc"})

    async def test_doubledSlash(self) -> None:
        """Behind doubled slashes there is the same, and what the pages ask for beside it."""
        await self.serveOwn()
        self.assertIn(LANDING, (await self.ask("//")).body)
        self.assertEqual(json.loads((await self.ask("//wsproxy.json")).body), {"target": "vnc"})
        await self.serveOwn(str(self.top))
        self.assertEqual((await self.ask("//file.txt")).body, b"0123456789")
        self.assertIn(LANDING, (await self.ask("/wsproxy//")).body)

    async def test_off(self) -> None:
        """Where they are not wanted they are not there."""
        await self.serveOwn(str(self.top), own=False)
        self.assertEqual((await self.ask("/wsproxy/")).status, 404)
        self.assertIsNone(makePages(None, index="index.html", listing=None, own=False, target="vnc"))

    async def test_about(self) -> None:
        """The pages are told what kind of server the port leads to, and nothing else."""
        await self.serveOwn(target="irc")
        response = await self.ask("/wsproxy.json")
        self.assertEqual((response.status, json.loads(response.body)), (200, {"target": "irc"}))
        self.assertEqual(response.headers["content-type"], "application/json")
        self.assertEqual((await self.ask("/wsproxy.json", "POST")).status, 405)

    async def test_policy(self) -> None:
        """Nothing inline is run, nothing comes from elsewhere, and no text becomes markup."""
        await self.serveOwn()
        for path in ("/", "/index.html", "/wsirc.html"):
            policy = await self.policy(path)
            self.assertNotIn("unsafe", "".join(policy.values()))
            self.assertEqual(policy["default-src"], "'none'")
            self.assertEqual(policy["script-src"], "'self'")
            self.assertEqual(policy["style-src"], "'self'")
            self.assertEqual(policy["require-trusted-types-for"], "'script'")

    async def test_exceptions(self) -> None:
        """The terminal may style its text, the desktop may draw pictures it has received; neither may do more."""
        await self.serveOwn()
        usual = await self.policy("/")
        self.assertEqual(await self.policy("/wstelnet.html"), usual | {"style-src": "'self' 'unsafe-inline'"})
        self.assertEqual(await self.policy("/wsvnc.html"), usual | {"img-src": "'self' data:"})

    def test_forms(self) -> None:
        """Each field and switch says what a browser may fill in: Firefox fills in what was there before a reload."""
        static = Path(__file__).parents[2] / "wsproxy" / "static"
        for page in static.glob("*.html"):
            for field in re.findall(r"<(?:input|textarea)[^>]*>", page.read_text(encoding="utf-8")):
                self.assertIn("autocomplete=", field, page.name)

    def test_nothingInline(self) -> None:
        """No page of ours has an inline script or style, or refers to another host."""
        static = Path(__file__).parents[2] / "wsproxy" / "static"
        pages = sorted(static.glob("*.html"))
        self.assertGreater(len(pages), 3)
        for page in pages:
            text = page.read_text(encoding="utf-8")
            self.assertNotRegex(text, r"<style|\bstyle=|\bon[a-z]+=|javascript:|//|<script(?![^>]* src=)", page.name)
