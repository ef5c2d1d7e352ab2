"""The IRC page with a real ngircd behind the proxy: two browsers talk."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.components import requireComponent
from tests.e2e.browser import openBrowser
from tests.e2e.proxy import Proxy, startProxy
from tests.integration.twistd import start

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


class Talker(LineReceiver):
    """The server's side, as a test plays it: takes anybody in, and says what it is asked to say."""

    factory: Talkers
    nick = "?"

    def connectionMade(self) -> None:
        self.factory.present.append(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.present.remove(self)

    def lineReceived(self, line: bytes) -> None:
        text = line.decode()
        self.factory.heard.append(text)
        command, _, rest = text.partition(" ")
        if command == "NICK":
            self.nick = rest.removeprefix(":")
        elif command == "USER" and self.factory.isOpen:
            self.welcome()
        elif command == "JOIN":
            room, users = rest.removeprefix(":"), f"{self.nick} bob"
            self.say(f":{self.nick}!u@h JOIN {room}", f":irc.example 353 {self.nick} = {room} :{users}")
            self.say(f":irc.example 366 {self.nick} {room} :End")

    def welcome(self) -> None:
        self.say(f":irc.example 001 {self.nick} :Welcome")

    def leave(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def say(self, *lines: str) -> None:
        self.sendLine("\r\n".join(lines).encode())


class Talkers(Factory[Talker]):
    """
    @ivar present: those that are connected.
    @ivar heard: all lines from clients.
    @ivar isOpen: whether newcomers are taken in at once.
    """

    protocol = Talker
    noisy = False

    def __init__(self) -> None:
        self.present: list[Talker] = []
        self.heard: list[str] = []
        self.isOpen = True

    async def listen(self, test: TestCase) -> str:
        """@return: where, as a target."""
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self)
        test.addCleanup(port.stopListening)
        address = port.getHost()
        assert isinstance(address, IPv4Address)
        return f"127.0.0.1:{address.port}"


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


class EnduranceTests(TestCase):
    """The page with a server of ours."""

    timeout = 60.0

    async def arrive(self) -> tuple[Talkers, Chatter]:
        """@return: the server, and ann in its #room."""
        talkers, ann = Talkers(), Chatter(self)
        proxy = await startProxy(self, "--target", await talkers.listen(self))
        await ann.arrive(proxy, "ann", "%23room")
        return talkers, ann

    async def test_flood(self) -> None:
        """5,000 lines at once cost less than a second of the page's thread; the last thousand of them are kept."""
        talkers, ann = await self.arrive()
        before = await ann.browser.work()
        said = [f":bob!b@h PRIVMSG #room :line {number} {'of many words ' * 6}" for number in range(4999)]
        talkers.present[0].say(*said, ":bob!b@h PRIVMSG #room :the end")
        await ann.sees("log", "bob: the end")
        self.assertLess(await ann.browser.work() - before, 1)
        self.assertEqual(await ann.browser.evaluate("document.getElementById('log').childElementCount"), 1000)
        end = "(log => log.scrollHeight - log.scrollTop - log.clientHeight)(document.getElementById('log'))"
        self.assertLess(await ann.browser.evaluate(end), 2)

    async def test_lost(self) -> None:
        """A page that loses its server comes back to it and to its channel; what was typed meanwhile is kept."""
        talkers, ann = await self.arrive()
        await ann.say("before")
        await ann.say("/join #other")
        await ann.sees("topic", "^#other$")
        talkers.heard.clear()
        talkers.isOpen = False
        talkers.present[0].leave()
        await ann.sees("status", "Target closed.* Next attempt in")
        await ann.say("typed meanwhile")
        await ann.sees("log", "your text is kept")
        while len(talkers.heard) < 2:
            await deferLater(reactor, 0.05)
        talkers.present[-1].welcome()
        await ann.sees("status", "^Connected as ann")
        await ann.browser.until("document.getElementById('users').innerText.includes('bob')")
        self.assertEqual(talkers.heard[:4], ["NICK :ann", "USER ann 0 * :ann", "JOIN :#room", "JOIN :#other"])
        await ann.browser.press("Enter")
        await ann.sees("log", "ann: typed meanwhile")
        self.assertEqual(talkers.heard[-1], "PRIVMSG #other :typed meanwhile")
        await ann.browser.click("#rooms button:nth-child(2)")
        await ann.sees("log", "ann: before")

    async def test_quit(self) -> None:
        """Who quits is not brought back."""
        talkers, ann = await self.arrive()
        await ann.say("/quit enough")
        await ann.browser.until("document.getElementById('hangup').checkVisibility()")
        talkers.present[0].leave()
        await ann.sees("status", "^Disconnected")

    async def test_words(self) -> None:
        """What cannot be done is answered with a sentence, and not sent."""
        talkers, ann = await self.arrive()
        talkers.heard.clear()
        for typed, answer in (
            ("/join", "Usage: /join #channel"),
            ("/nick bad nick!", '"bad nick!" cannot be a nick: it may have no spaces'),
            ("/dance", "There is no /dance"),
        ):
            await ann.say(typed)
            await ann.sees("log", answer)
            await ann.browser.evaluate("document.getElementById('line').value = ''")
        self.assertEqual(talkers.heard, [])
        await ann.browser.click("#hangup")
        await ann.browser.evaluate("document.querySelector('#dial [name=nick]').value = 'bad nick!'")
        await ann.browser.click("#connect")
        await ann.sees("status", 'Cannot connect: "bad nick!" cannot be a nick')
