"""A browser that is sent to where one signs in, and comes back."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.e2e.browser import openBrowser
from tests.e2e.proxy import startProxy
from tests.e2e.test_pages import exchangeWith
from tests.integration.fronts import Nginx

SIGN_IN = {
    "verify": (
        'if ($cookie_session = "good") { add_header Remote-User alice; return 204; }\n'
        'return 302 "http://127.0.0.1:$server_port/login/?rd='
        '$http_x_forwarded_proto://$http_x_forwarded_host$http_x_forwarded_uri";'
    ),
    "login": 'add_header Set-Cookie "session=good; Path=/; HttpOnly; SameSite=Lax"; return 302 "$arg_rd";',
}


class ForwardTests(TestCase):
    timeout = 60.0

    async def test_signedIn(self) -> None:
        """The page, all that it consists of, and its WebSocket come with the cookie that was given elsewhere."""
        browser = openBrowser(self)
        verifier = Nginx(SIGN_IN)
        self.addCleanup(verifier.stop)
        url = f"http://127.0.0.1:{verifier.port}/verify/"
        asking = ("--auth-url", url, "--auth-copy", "Remote-User", "--web-auth")
        proxy = await startProxy(self, "--target", "demo:", *asking)
        page = await browser.open(proxy.url("http"))
        self.assertEqual(page["status"], 200)
        self.assertEqual(await browser.evaluate("location.port"), str(proxy.port))
        await browser.until(exchangeWith("Hello!"))
        self.assertEqual(await browser.evaluate("document.cookie"), "")
        await proxy.process.line(r"\(ws /\S*, binary, as alice\)")
