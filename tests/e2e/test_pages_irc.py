"""The IRC page with a real ngircd behind the proxy: two browsers talk."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.components import requireComponent
from tests.integration.twistd import start

from .browser import openBrowser
from .proxy import Proxy, startProxy

CONFIGURATION = """
[Global]
Name = irc.example
Info = Nothing but a test
Listen = 127.0.0.1
Ports = {port}
[Limits]
MaxPenaltyTime = 0
[Options]
Ident = no
DNS = no
PAM = no
"""


async def startServer(test: TestCase) -> str:
    """An ngircd. @return: where it listens, as a target."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = Path(test.mktemp()).absolute()
    configuration.write_text(CONFIGURATION.format(port=port))
    server = requireComponent("ngircd", "/usr/sbin/ngircd")
    await start(test, [server, "-n", "-f", str(configuration)]).line("Now listening on ")
    return f"127.0.0.1:{port}"


class Chatter:
    """Somebody at the page."""

    def __init__(self, test: TestCase) -> None:
        self.browser = openBrowser(test)

    async def arrive(self, proxy: Proxy, nick: str, channels: str) -> None:
        await self.browser.open(proxy.url("http", f"/wsirc.html?nick={nick}&channel={channels}"))
        await self.sees("users", f"[@+]?{nick}_?\n?")

    async def say(self, line: str) -> None:
        await self.browser.click("#line")
        await self.browser.type(f"{line}\n")

    async def sees(self, place: str, pattern: str) -> str:
        """Wait until an element's text has a match for C{pattern}. @return: the match."""
        text = f"document.getElementById({json.dumps(place)}).innerText"
        [found, *_] = await self.browser.until(f"{text}.match(new RegExp({json.dumps(pattern)}, 'u'))")
        return str(found)

    async def highlights(self) -> int:
        """How many messages call for attention."""
        return int(await self.browser.evaluate("document.querySelectorAll('#log .highlight').length"))


class ChatTests(TestCase):
    timeout = 60.0

    async def test_talk(self) -> None:
        """
        Two meet in a channel, see each other come, speak, act, change their name and go; who is called by name in
        a channel that is not shown finds it marked.
        """
        proxy = await startProxy(self, "--target", await startServer(self))
        ann, bob = Chatter(self), Chatter(self)
        await ann.arrive(proxy, "ann", "%23room")
        await ann.browser.display(1000, 640, "light")
        await bob.arrive(proxy, "bob", "%23other,%23room")
        await bob.browser.display(390, 700, "dark")
        await ann.sees("log", "bob joined")
        await ann.sees("users", "@ann\nbob")

        await ann.say("grüße <b>bob</b> 😀")
        await bob.sees("log", "ann: grüße <b>bob</b> 😀")
        await bob.say("/me waves")
        await ann.sees("log", r"\* bob waves")

        await ann.say("/join #elsewhere")
        await ann.sees("topic", "^#elsewhere$")
        await bob.say("Ann: are you there?")
        await ann.browser.until("document.querySelector('#rooms .called')?.innerText == '#room'")
        await ann.browser.click("#rooms .called")
        await ann.sees("log", "bob: Ann: are you there?")
        self.assertEqual(await ann.highlights(), 1)
        await ann.browser.screenshot("body", "irc-desk-light")
        await bob.browser.screenshot("body", "irc-phone-dark")

        await ann.say("/topic Nothing in particular")
        await bob.sees("topic", "^#room: Nothing in particular$")
        await bob.say("/nick robert")
        await ann.sees("users", "@ann\nrobert")
        await bob.browser.click("#part")
        await ann.sees("log", "robert left")
        await ann.sees("users", "^@ann$")
        await bob.sees("topic", "^$")  # the server's own room
        self.assertEqual(await ann.browser.complaints() + await bob.browser.complaints(), [])

    async def test_nickInUse(self) -> None:
        """A second one of the same name gets another; a wrong one is told and can be changed."""
        proxy = await startProxy(self, "--target", await startServer(self))
        one, other = Chatter(self), Chatter(self)
        await one.arrive(proxy, "ann", "%23room")
        await other.arrive(proxy, "ann", "%23room")
        await one.sees("users", "@ann\nann_")
        await other.sees("status", "^Connected as ann_\\.$")
        await one.say("/msg ann_ psst")
        await other.browser.until("document.querySelector('#rooms .called')?.innerText == 'ann'")
        await other.say("/nick two words")
        await other.sees("log", "two words")
