"""A program of asyncio's with the proxy in it, in which each of those who are asked or told waits for asyncio."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from twisted.internet import asyncioreactor
from twisted.internet.endpoints import clientFromString
from twisted.logger import globalLogBeginner, textFileLogObserver

from wsproxy import WebSockifyFactory, WebSockifyService
from wsproxy.interfaces import Conversation, Ending, Identity, Request, Session


class Hooks:
    """Prints who was called, and what was still known of the request before and after the wait."""

    def __init__(self, reactor: Any, target: str) -> None:
        self._reactor = reactor
        self._target = target

    async def authenticate(self, request: Request) -> Identity:
        await asyncio.sleep(0.01)
        print("authenticate", flush=True)
        return Identity(request.cookies["seat"])

    async def resolve(self, request: Request, identity: Identity | None) -> str:
        async with asyncio.timeout(5):
            await asyncio.sleep(0.01)
        print("resolve", flush=True)
        return self._target

    async def authorise(self, request: Request, identity: Identity | None, target: object) -> None:
        await asyncio.sleep(0.01)
        print("authorise", flush=True)

    async def dial(self, session: Session, factory: Any) -> Any:
        seat = session.request.cookies["seat"]
        async with asyncio.timeout(5):
            await asyncio.sleep(0.01)
        print("dial", seat, flush=True)
        return await clientFromString(self._reactor, session.target.text).connect(factory)

    async def negotiate(self, client: Conversation, target: Conversation) -> None:
        await asyncio.sleep(0.01)
        print("negotiate", (await target.readExactly(3)).decode(), flush=True)

    async def opened(self, session: Session) -> None:
        seat = session.request.cookies["seat"]
        await asyncio.sleep(0.01)
        print("opened", seat, flush=True)

    async def closed(self, session: Session, ending: Ending) -> None:
        await asyncio.sleep(0.01)
        print("closed", ending.close.code, flush=True)


async def main(target: str) -> None:
    loop = asyncio.get_running_loop()
    asyncioreactor.install(loop)  # type: ignore[no-untyped-call]
    from twisted.internet import reactor

    reactor.startRunning(installSignalHandlers=False)  # type: ignore[attr-defined]
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    hooks = Hooks(reactor, target)

    def dial(session: Session, factory: Any) -> Any:
        """Who answers with a coroutine need not be a function of coroutines."""
        return hooks.dial(session, factory)

    asked: dict[str, Any] = {
        "authenticator": hooks,
        "resolver": hooks,
        "authoriser": hooks.authorise,
        "dialer": dial,
        "negotiate": hooks,
        "observers": [hooks],
    }
    factory = WebSockifyFactory(reactor, **asked)
    service = WebSockifyService(reactor, factory, ["tcp:0:interface=127.0.0.1"])
    service.startService()
    port: Any
    [port] = await service.whenListening().asFuture(loop)
    print(port.getHost().port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await service.stopService().asFuture(loop)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
