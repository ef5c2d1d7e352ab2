"""Real programs behind the proxy: their ports, their ends, and what their clients see of both."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from tests.components import require, requireComponent
from tests.integration.twistd import TWISTD, Running, start
from tests.integration.wrapped import Client, WrapTestCase, listening
from tests.process.programs import running, until

# echo PORT [HOST…]: greets each client, then says everything after it; "exit N" ends it
ECHO = """
import os, socket, sys, threading

def serve(listener):
    while True:
        client = listener.accept()[0]
        threading.Thread(target=talk, args=(client,), daemon=True).start()

def talk(client):
    client.sendall(b"hello\\n")
    while data := client.recv(65536):
        if data.startswith(b"exit "):
            client.sendall(b"bye\\n")
            os._exit(int(data[5:]))
        client.sendall(data)

def listen(host, port):
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in host:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((host, port))
    listener.listen()
    return listener

port, *hosts = sys.argv[1:]
"""

ONE = ECHO + "serve(listen('', int(port)))"
BOTH = (
    ECHO
    + """
listeners = [listen(host, int(port)) for host in ('0.0.0.0', '::')]
threading.Thread(target=serve, args=(listeners[0],), daemon=True).start()
serve(listeners[1])
"""
)
TWICE = ECHO + "listen('', int(port)).close()\nserve(listen('', int(port)))"
GRANDCHILD = ECHO + "if os.fork() or os.fork():\n    os.wait()\nelse:\n    serve(listen('', int(port)))"
DAEMON = (
    ECHO
    + """
if os.fork() == 0:
    os.setsid()
    print('daemon', os.getpid())
    serve(listen('', int(port)))
"""
)

# like nginx: listens before it puts itself in the background
EARLY_DAEMON = (
    ECHO
    + """
listener = listen('', int(port))
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        __import__('signal').alarm(60)  # should a test not get to end it
        print('daemon', os.getpid())
        serve(listener)
"""
)
# like uvicorn --reload: one process binds, another one, which is executed anew, listens
RELOADER = (
    ECHO
    + """
import subprocess
if hosts:
    listener = socket.socket(fileno=int(hosts[0]))
    listener.listen()
    serve(listener)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(('', int(port)))
number = listener.fileno()
subprocess.run([sys.executable, '-u', '-S', '-c', SOURCE, port, str(number)], pass_fds=[number])
"""
)
RELOADER = f"SOURCE = {RELOADER!r}\n{RELOADER}"

NGINX = """
pid FOLDER/pid;
error_log FOLDER/log;
worker_processes 2;
events {}
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    server {
        listen PORT;
        listen [::]:PORT;
        return 200 "nginx says hello";
    }
}
"""

STATIC = """
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

int main(int count, char **words)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(words[count - 1]))};
    int client, listener = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 5) != 0)
        return 3;
    while ((client = accept(listener, NULL, NULL)) >= 0 && write(client, "static\\n", 7) == 7)
        close(client);
    return 4;
}
"""

GOING_AWAY, NORMAL, INTERNAL_ERROR = 1001, 1000, 1011


def python(script: str, *arguments: Any) -> list[str]:
    """The words of a program in Python."""
    return [sys.executable, "-u", "-S", "-c", script, *map(str, arguments)]


def greeting(client: Client) -> bytes:
    return client.until(b"hello\n")


class ExitTests(WrapTestCase):
    """C{--wrap-mode exit}."""

    async def test_http(self) -> None:
        """Python's web server, whose port is now on loopback alone, is reached through the original port."""
        program = python("import runpy, sys; sys.argv[0] = ''; runpy.run_module('http.server', {}, '__main__')")
        twistd = self.wrap("exit", *program, str(self.port))
        address = await self.address(twistd)
        self.assertTrue(address.startswith("127."))
        self.assertEqual(listening(await self.pid(twistd)), {address})
        self.assertEqual(listening(twistd.pid), {f":::{self.port}"})

        def get(client: Client) -> bytes:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            return client.until(b"</html>")

        self.assertTrue((await self.converse(get)).startswith(b"HTTP/1.0 200 OK"))
        await self.end(twistd)

    async def test_redis(self) -> None:
        """Redis answers WebSocket clients and, with --raw, its own on one port; its end ends the proxy."""
        redis = requireComponent("redis-server")
        words = ("--port", str(self.port), "--save", "", "--bind", "0.0.0.0", "::")
        twistd = self.wrap("exit", redis, *words, options=("--raw",))
        await self.address(twistd)

        def ping(client: Client) -> bytes:
            client.send(b"PING\r\n")
            return client.until(b"\r\n")

        self.assertEqual(await self.converse(ping), b"+PONG\r\n")
        self.assertEqual(await self.plain(b"ECHO hello\r\n", b"hello\r\n"), b"$5\r\nhello\r\n")
        await until(lambda: len(listening(twistd.pid)) == 1)
        pid = await self.pid(twistd)
        for address in await until(lambda: listening(pid)):
            self.assertTrue(address.startswith(("127.", "::1:")), address)

        def shutdown(client: Client) -> tuple[int, str]:
            client.send(b"SHUTDOWN NOSAVE\r\n")
            return client.closed()

        self.assertEqual(await self.converse(shutdown), (NORMAL, "Target closed"))
        self.assertEqual((await twistd.end()).status, 0)

    async def test_status(self) -> None:
        """The proxy leaves with the program's status, and what the program wrote last arrives."""
        twistd = self.wrap("exit", *python(ONE, self.port))
        await self.address(twistd)

        def leave(client: Client) -> tuple[int, bytes]:
            client.send(b"exit 7")
            return client.closed()[0], client.received

        self.assertEqual(await self.converse(leave), (NORMAL, b"hello\nbye\n"))
        self.assertEqual((await twistd.end()).status, 7)

    async def test_killed(self) -> None:
        """The program's death by a signal is 128 and its number."""
        twistd = self.wrap("exit", *python(ONE, self.port))
        await self.address(twistd)
        os.kill(await self.pid(twistd), signal.SIGKILL)
        self.assertEqual((await twistd.end()).status, 137)

    async def test_goingAway(self) -> None:
        """A session that something else still serves when the program ends is closed with 1001."""
        script = ECHO + textwrap.dedent(
            """
            listener = listen('', int(port))
            if os.fork() == 0:
                os.setsid()
                talk(listener.accept()[0])
            else:
                sys.stdin.read()
                __import__("time").sleep(3600)
            """
        )
        twistd = self.wrap("exit", *python(script, self.port))
        await self.address(twistd)
        pid = await self.pid(twistd)

        def stay(client: Client) -> tuple[int, str]:
            client.until(b"hello\n")
            os.kill(pid, signal.SIGTERM)
            return client.closed()

        self.assertEqual(await self.converse(stay), (GOING_AWAY, "Server going down"))
        self.assertEqual((await twistd.end()).status, 143)

    async def test_stop(self) -> None:
        """Stopped, the proxy closes its sessions with 1001, and the program and all its group are gone before it."""
        twistd = self.wrap("exit", *python(GRANDCHILD, self.port))
        await self.address(twistd)
        grandchild = int((await twistd.line(r"\(process (\d+)\)"))[1])

        def stay(client: Client) -> tuple[int, str]:
            client.until(b"hello\n")
            os.kill(twistd.pid, signal.SIGTERM)
            return client.closed()

        self.assertEqual(await self.converse(stay), (GOING_AWAY, "Server going down"))
        self.assertEqual((await twistd.end()).status, 0)
        self.assertFalse(running(grandchild))
        self.assertFalse(running(await self.pid(twistd)))

    async def test_stopBoth(self) -> None:
        """The program is told to end while clients are, one of which does not care: a plain one that stays."""
        script = ECHO + textwrap.dedent(
            """
            import signal
            signal.signal(signal.SIGTERM, lambda *_: (print('told'), os._exit(0)))
            serve(listen('', int(port)))
            """
        )
        twistd = self.wrap("exit", *python(script, self.port), options=("--raw", "--raw-after", "0.2"))
        await self.address(twistd)
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            self.assertEqual(await deferToThread(client.recv, 100), b"hello\n")
            began = time.monotonic()
            twistd.signal("TERM")
            await twistd.line("told")
            self.assertLess(time.monotonic() - began, 3)
            self.assertEqual((await twistd.end()).status, 0)

    async def test_notFound(self) -> None:
        """A program that is not there is one line, and nothing is started."""
        file = __file__
        for word, status, what in ("no-such-program", 127, "no such program"), (file, 126, "not executable"):
            outcome = await self.wrap("exit", word).end()
            self.assertEqual((outcome.status, outcome.err), (status, f"twistd websockify: -- {word}: {what}\n"))

    async def test_notPermitted(self) -> None:
        """Where twistd becomes a user who must not run the program, the log names what is not permitted."""
        require("the right to become another user", lambda: os.geteuid() == 0)
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True, mode=0o700)
        program = folder / "program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        words = ["-n", "--pidfile=", "--uid", "65534", "--gid", "65534", "websockify", "--listen", str(self.port)]
        outcome = await start(self, [sys.executable, TWISTD, *words, "--", str(program)]).end()
        self.assertEqual(outcome.status, 126, outcome)
        self.assertRegex(outcome.out, r"program cannot be started: .*Permission denied for user 65534: '/\S+'")


class RespawnTests(WrapTestCase):
    """C{--wrap-mode respawn}."""

    async def test_telnetd(self) -> None:
        """telnetd, which serves one client and ends, takes three logins in a row."""
        telnetd = requireComponent("in.telnetd", "/usr/sbin/in.telnetd")
        twistd = self.wrap("respawn", telnetd, "-debug", str(self.port))
        await self.address(twistd)

        def login(client: Client) -> bytes:
            answered = 0
            while b"login: " not in client.received:
                client.more()
                while (at := client.received.find(b"\xff", answered)) >= 0 and len(client.received) >= at + 3:
                    verb, option = client.received[at + 1], client.received[at + 2]
                    if verb in (251, 253):  # WILL is answered with DONT, DO with WONT (RFC 854)
                        client.send(bytes([255, 254 if verb == 251 else 252, option]))
                    answered = at + 3
            return client.received

        for _ in range(3):
            self.assertIn(b"login: ", await self.converse(login))
        await self.end(twistd)

    async def test_killed(self) -> None:
        """A program that is killed comes back, and a client that arrives meanwhile waits for it."""
        twistd = self.wrap("respawn", *python(ONE, self.port))
        await self.address(twistd)
        pid = await self.pid(twistd)
        os.kill(pid, signal.SIGKILL)
        await twistd.line("starts again in 1 s")
        self.assertEqual(await self.converse(greeting), b"hello\n")
        self.assertFalse(Path(f"/proc/{pid}").exists())
        await self.end(twistd)

    async def test_down(self) -> None:
        """A client that waits in vain is told so."""
        twistd = self.wrap("respawn", "sh", "-c", "exit 3", options=("--connect-timeout", "0.5"))
        await twistd.line("ended with status 3")
        self.assertEqual(await self.converse(Client.closed), (INTERNAL_ERROR, "Program is not running"))
        await self.end(twistd)

    async def test_oneShot(self) -> None:
        """
        A program that serves one client and ends, like many a telnetd: whoever comes while it is ending, and is only in
        the queue of its socket, is served by the next run.
        """
        # the next client is in the queue before the last one's program ends, which it does a moment later
        script = ECHO + textwrap.dedent(
            """
            import time
            listener = listen('', int(port))
            client = listener.accept()[0]
            client.sendall(b"hello\\n")
            client.recv(100)
            client.close()
            time.sleep(0.2)
            """
        )
        twistd = self.wrap("respawn", *python(script, self.port))
        await self.address(twistd)

        def leave(client: Client) -> bytes:
            greeting(client)
            client.send(b"bye")
            client.closed()
            return client.received

        for _ in range(3):
            self.assertEqual(await gatherResults([self.converse(leave)]), [b"hello\n"])
        await self.end(twistd)


class IgnoreTests(WrapTestCase):
    """C{--wrap-mode ignore}."""

    async def test_daemon(self) -> None:
        """A program that puts itself in the background is served, and left running with a word about it."""
        twistd = self.wrap("ignore", *python(DAEMON, self.port))
        daemon = int((await twistd.line(r"daemon (\d+)"))[1])
        self.addCleanup(os.kill, daemon, signal.SIGKILL)
        await twistd.line("ended with status 0")
        await self.address(twistd)
        self.assertEqual(await self.converse(greeting), b"hello\n")
        outcome = await self.end(twistd)
        self.assertRegex(
            outcome.out, rf"process {daemon} \(\S+\) has left the process group, and goes on listening on 127\."
        )
        self.assertTrue(running(daemon))

    async def test_earlyDaemon(self) -> None:
        """So is one that listens before it does so."""
        twistd = self.wrap("ignore", *python(EARLY_DAEMON, self.port))
        daemon = int((await twistd.line(r"daemon (\d+)"))[1])
        self.addCleanup(os.kill, daemon, signal.SIGKILL)
        await twistd.line("ended with status 0")
        self.assertEqual(await self.converse(greeting), b"hello\n")
        outcome = await self.end(twistd)
        self.assertRegex(outcome.out, rf"process {daemon} \(\S+\) has left the .* and goes on listening on 127\.")

    async def test_nginx(self) -> None:
        """nginx, which listens in both families, puts itself in the background and has workers, is served and named."""
        nginx = requireComponent("nginx", "/usr/sbin/nginx")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        (folder / "nginx.conf").write_text(NGINX.replace("FOLDER", str(folder)).replace("PORT", str(self.port)))
        twistd = self.wrap("ignore", nginx, "-c", str(folder / "nginx.conf"))
        await twistd.line("ended with status 0")
        master = int((folder / "pid").read_text())
        self.addCleanup(lambda: until(lambda: not running(master)))
        self.addCleanup(os.kill, master, signal.SIGTERM)

        def get(client: Client) -> bytes:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            return client.until(b"nginx says hello")

        self.assertTrue((await self.converse(get)).startswith(b"HTTP/1.1 200 OK"))
        outcome = await self.end(twistd)
        (named,) = (line for line in outcome.out.splitlines() if "has left the process group" in line)
        self.assertIn(f"process {master} (nginx)", named)
        self.assertEqual((named.count("127.1."), named.count("[::1]:")), (1, 1))

    async def test_otherMode(self) -> None:
        """In another mode the log names the one that such a program needs."""
        for mode in "exit", "respawn":
            twistd = self.wrap(mode, *python(EARLY_DAEMON, self.port))
            daemon = int((await twistd.line(r"daemon (\d+)"))[1])
            self.addCleanup(os.kill, daemon, signal.SIGKILL)
            await twistd.line(r"python\S* has put itself in the background; --wrap-mode ignore")
            await twistd.line(f"process {daemon} .* goes on listening on")
            if mode == "exit":
                self.assertEqual((await twistd.end()).status, 0)

    async def test_failed(self) -> None:
        """A program that has failed is not said to be in the background, nor of a kind that cannot be moved."""
        twistd = self.wrap("ignore", "sh", "-c", "echo no; exit 1")
        await twistd.line(r"sh has failed without opening port \d+")
        self.assertNotIn("static", (await self.end(twistd)).out)

    async def test_tigervncserver(self) -> None:
        """A VNC server started by its script is reached by WebSocket clients and by plain viewers."""
        server = requireComponent("tigervncserver")
        requireComponent("Xtigervnc")
        requireComponent("xauth")
        self.port = next(port for port in iter(self.freePort, 0) if not Path(f"/tmp/.X{port - 5900}-lock").exists())
        twistd = self.wrap(
            "ignore",
            *(server, f":{self.port - 5900}", "-rfbport", str(self.port), "-localhost", "no"),
            *("-SecurityTypes", "None", "--I-KNOW-THIS-IS-INSECURE", "-xstartup", self.mktempScript("sleep 3600")),
            options=("--raw",),
            HOME=self.mktempHome(),
        )
        address = await self.address(twistd)
        xvnc = int((await twistd.line(r"\(process (\d+)\)"))[1])
        self.assertIn(address, listening(xvnc))
        self.assertNotIn(f"0.0.0.0:{self.port}", listening(xvnc))
        self.assertEqual(await self.converse(handshake), "None")
        self.assertEqual(await self.plain(b"", b"\n"), b"RFB 003.008\n")
        await self.end(twistd)
        await until(lambda: not running(xvnc))

    def mktempScript(self, line: str) -> str:
        script = Path(self.mktemp()).absolute()
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
        return str(script)

    def mktempHome(self) -> str:
        home = Path(self.mktemp()).absolute()
        home.mkdir(parents=True)
        return str(home)


def handshake(client: Client) -> str:
    """@return: the security type that a VNC server and this client agree on (RFC 6143 section 7.1)."""
    assert client.until(b"\n") == b"RFB 003.008\n"
    client.send(b"RFB 003.008\n")
    client.until(b"\n\x01\x01")
    client.send(b"\x01")
    client.until(b"\n\x01\x01\0\0\0\0")
    return "None"


class StrangerTests(WrapTestCase):
    async def test_report(self) -> None:
        """A process that the program has not started cannot tell the proxy where to lead clients."""
        twistd = self.wrap("exit", *python(ONE, self.port))
        await self.address(twistd)
        environment = Path(f"/proc/{await self.pid(twistd)}/environ").read_bytes().split(b"\0")
        (path,) = (each.partition(b"=")[2] for each in environment if each.startswith(b"REBIND_NOTIFY="))
        with socket.create_server(("127.0.0.1", 0)) as trap, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as liar:
            report = f"1 listen {twistd.pid} inet 127.0.0.1 {trap.getsockname()[1]} {self.port} 0.0.0.0\n"
            liar.sendto(report.encode(), path)
            await twistd.line(f"process {os.getpid()} is none that the program has started")
            self.assertEqual(await self.converse(greeting), b"hello\n")
        await self.end(twistd)

    async def test_killedProxy(self) -> None:
        """Should the proxy be killed, nothing in the program's group goes on, which had a shell between."""
        twistd = self.wrap("exit", "sh", "-c", '"$@" & wait', "sh", *python(ONE, self.port))
        await self.address(twistd)
        server = int((await twistd.line(r"\(process (\d+)\)"))[1])
        os.kill(twistd.pid, signal.SIGKILL)
        await until(lambda: not running(server))


class ShapeTests(WrapTestCase):
    """Programs of every shape."""

    async def test_reloader(self) -> None:
        """One process may bind, and another one listen: what is executed anew, which is told the descriptor."""
        twistd = self.wrap("exit", *python(RELOADER, self.port))
        await self.address(twistd)
        self.assertEqual(await self.converse(greeting), b"hello\n")
        outcome = await self.end(twistd)
        self.assertNotIn("{port}", outcome.out)

    async def test_health(self) -> None:
        """A program that asks itself, over HTTP, right after it listens, is answered by itself and not by the proxy."""
        script = textwrap.dedent(
            """
            import http.server, sys, threading, urllib.request
            address = "127.0.0.1", int(sys.argv[1])
            try:
                urllib.request.urlopen("http://%s:%d/" % address)
            except OSError as e:
                print("before:", e)
            server = http.server.HTTPServer(address, http.server.SimpleHTTPRequestHandler)
            threading.Thread(target=server.serve_forever).start()
            print("healthy:", urllib.request.urlopen("http://%s:%d/" % address).headers["Server"])
            """
        )
        twistd = self.wrap("exit", sys.executable, "-u", "-c", script, str(self.port))
        await twistd.line("before: .*Connection refused")
        await twistd.line("healthy: SimpleHTTP")
        await self.end(twistd)

    async def test_second(self) -> None:
        """A second program on the port is told that it is in use, and the first one serves."""
        script = '"$@" & sleep 0.5; "$@"; echo second left with $?; wait'
        twistd = self.wrap("exit", "sh", "-c", script, "sh", *python(ONE, self.port))
        await twistd.line("Address already in use")
        await twistd.line("second left with 1")
        self.assertEqual(await self.converse(greeting), b"hello\n")
        await self.end(twistd)

    async def test_both(self) -> None:
        """A program that binds 0.0.0.0 and [::] is moved in both families, and reached."""
        twistd = self.wrap("exit", *python(BOTH, self.port))
        addresses = {(await twistd.line(rf"listens on {host}:\d+"))[0] for host in (r"127[.0-9]+", r"\[::1\]")}
        self.assertEqual(len(addresses), 2)
        pid = await self.pid(twistd)
        self.assertEqual({address[:4] for address in listening(pid)}, {"127.", "::1:"})
        self.assertEqual(await self.converse(greeting), b"hello\n")
        await self.end(twistd)

    async def test_grandchild(self) -> None:
        """A grandchild may be the one that binds."""
        twistd = self.wrap("exit", *python(GRANDCHILD, self.port))
        await self.address(twistd)
        self.assertEqual(await self.converse(greeting), b"hello\n")
        await self.end(twistd)

    async def test_twice(self) -> None:
        """A program that listens, closes and listens again is reached at the second socket."""
        twistd = self.wrap("exit", *python(TWICE, self.port))
        await self.address(twistd)
        self.assertEqual(await self.converse(greeting), b"hello\n")
        await self.end(twistd)

    async def test_static(self) -> None:
        """A static program finds the port taken, and the log names the way out; told its port, it is served."""
        program = self.compiled()
        outcome = await self.wrap("exit", program, str(self.port)).end()
        self.assertEqual(outcome.status, 3)
        self.assertIn("ended without opening port", outcome.out)
        self.assertIn("{port} or {socket}", outcome.out)
        twistd = self.wrap("exit", program, "{port}")
        await self.pid(twistd)
        self.assertEqual(await self.converse(lambda client: client.until(b"\n")), b"static\n")
        await self.end(twistd)

    def compiled(self) -> str:
        compiler = requireComponent("cc", "gcc")
        path = str(Path(self.mktemp()).absolute())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        subprocess.run([compiler, "-static", "-x", "c", "-o", path, "-"], input=STATIC.encode(), check=True)
        return path

    async def test_silent(self) -> None:
        """A program that runs without ever opening the port is mentioned after 5 s."""
        twistd = self.wrap("exit", "sleep", "60")
        await twistd.line(r"sleep has run for 5 s without opening port \d+.*\{port\} or \{socket\}")
        await self.end(twistd)

    async def test_unixSocket(self) -> None:
        """{socket} makes it a unix socket, and no TCP port need be listened on for that."""
        script = ECHO + "s = socket.socket(socket.AF_UNIX); s.bind(hosts[0]); s.listen(); serve(s)"
        twistd = self.wrap("exit", *python(script, 0, "{socket}"))
        await self.pid(twistd)
        self.assertEqual(await self.converse(greeting), b"hello\n")
        outcome = await self.end(twistd)
        self.assertNotIn("instead of port", outcome.out)


class WswrapTests(WrapTestCase):
    """C{wswrap}."""

    def wswrap(self, *words: str) -> Running:
        return start(self, [sys.executable, "-c", "from wsproxy.command.wswrap import main; main()", *words])

    async def test_port(self) -> None:
        """The program's port takes WebSocket clients and plain ones, also of a program that speaks first."""
        wswrap = self.wswrap("--raw-after", "0.2", str(self.port), *python(ONE, self.port))
        await self.address(wswrap)
        self.assertEqual(await self.converse(greeting), b"hello\n")
        self.assertEqual(await self.plain(b"", b"hello\n"), b"hello\n")
        self.assertEqual(await self.plain(b"exit 5", b"bye\n"), b"hello\nbye\n")
        self.assertEqual((await wswrap.end()).status, 5)
        self.assertFalse((wswrap.directory / "twistd.pid").exists())

    async def test_everyPort(self) -> None:
        """Without a port, each one that the program listens on is listened on, at the address it asked for."""
        other = self.freePort()
        script = ECHO + textwrap.dedent(
            """
            second = listen('127.0.0.1', int(hosts[0]))
            threading.Thread(target=serve, args=(second,), daemon=True).start()
            serve(listen('', int(port)))
            """
        )
        wswrap = self.wswrap("--raw-after", "0.2", *python(script, self.port, other))
        await gatherResults([wswrap.line(f"Listening on .*:{port} ") for port in (self.port, other)])
        self.assertEqual(listening(wswrap.pid), {f"0.0.0.0:{self.port}", f"127.0.0.1:{other}"})
        for port in self.port, other:
            self.assertEqual(await self.plain(b"", b"hello\n", port), b"hello\n")
            self.port = port
            self.assertEqual(await self.converse(greeting), b"hello\n")
        await self.end(wswrap)

    async def test_complaint(self) -> None:
        """What is wrong is told in its own name."""
        words = ("--heartbeat", "soon", str(self.port), "true")
        script = "import sys; sys.argv[0] = 'wswrap'; from wsproxy.command.wswrap import main; main()"
        outcome = await start(self, [sys.executable, "-c", script, *words]).end()
        self.assertEqual((outcome.status, outcome.err), (1, "wswrap: --heartbeat soon: not a number of seconds\n"))

    async def test_takenPort(self) -> None:
        """Where somebody else has the port outside, the program is told so, as without us."""
        with socket.create_server(("127.0.0.1", self.port)):
            wswrap = self.wswrap(*python(ONE, self.port))
            await wswrap.line("Address already in use")
            self.assertEqual((await wswrap.end()).status, 1)

    async def test_notPermitted(self) -> None:
        """Nor does it get an address that is not this machine's, or that it must not have."""
        wswrap = self.wswrap(*python(ECHO + "listen('192.0.2.1', int(port))", self.port))
        await wswrap.line("Cannot assign requested address")
        self.assertEqual((await wswrap.end()).status, 1)

    async def test_again(self) -> None:
        """Its own port it may have again, which is listened on outside already, and in both families."""
        script = BOTH.replace("listeners =", "listen('', int(port)).close()\nlisteners =")
        wswrap = self.wswrap("--raw-after", "0.2", *python(script, self.port))
        await gatherResults([wswrap.line(rf"Listening on {host}:{self.port} ") for host in (r"0\.0\.0\.0", r"\[::\]")])
        self.assertEqual(await self.plain(b"", b"hello\n"), b"hello\n")
        await self.end(wswrap)
