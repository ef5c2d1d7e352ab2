"""The proxy in an asyncio program, beside a web application in the manner of FastAPI: one loop, two ports.

The application gives out tokens, and the proxy takes them: what one of them awaits the other may set. ``app`` is plain
ASGI here; one of FastAPI goes to the same place. Needs ``pip install uvicorn``.

Run it with ``python docs/embedding/asgi.py``, get a token from http://localhost:8000/, and connect to
ws://localhost:6080/?token=TOKEN.
"""

import asyncio
import secrets
import sys
import time
from typing import Any

import uvicorn
from twisted.internet import asyncioreactor
from twisted.logger import globalLogBeginner, textFileLogObserver

from wsproxy import WebSockifyFactory, WebSockifyService
from wsproxy.errors import Refusal
from wsproxy.interfaces import Identity, Request

TOKENS: dict[str, float] = {}
"""Until when each is good."""


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers each request with a token, good for a minute and one session."""
    if scope["type"] != "http":
        return
    token = secrets.token_urlsafe(16)
    TOKENS[token] = time.time() + 60
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
    await send(head)
    await send({"type": "http.response.body", "body": token.encode()})


async def main(web: int = 8000, listen: str = "6080", target: str = "demo:") -> None:
    async def resolve(request: Request, identity: Identity | None) -> str:
        await asyncio.sleep(0)  # whatever of asyncio's there is to be waited for
        if TOKENS.pop(request.query.get("token", ""), 0) < time.time():
            raise Refusal(403, "Token not accepted", guess=True)
        return target

    loop = asyncio.get_running_loop()
    asyncioreactor.install(loop)  # type: ignore[no-untyped-call]
    from twisted.internet import reactor  # not before: to import it is to install one

    reactor.startRunning(installSignalHandlers=False)  # type: ignore[attr-defined]  # the loop runs it
    log: Any = textFileLogObserver(sys.stderr)
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False)
    service = WebSockifyService(reactor, WebSockifyFactory(reactor, resolver=resolve), [listen])
    service.startService()
    port: Any
    [port] = await service.whenListening().asFuture(loop)
    print(f"ws://localhost:{port.getHost().port}/", flush=True)
    try:
        await uvicorn.Server(uvicorn.Config(app, port=web, log_level="warning")).serve()
    finally:
        await service.stopService().asFuture(loop)


if __name__ == "__main__":
    asyncio.run(main())
