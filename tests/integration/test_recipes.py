"""What README.rst and docs/ tell people to type, typed: each command and each block of configuration, to the letter."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from pathlib import Path

import bcrypt
from twisted.trial.unittest import SynchronousTestCase

from tests.components import require, requireComponent
from tests.integration.interpreter import PATHS, pythonForEverybody
from tests.integration.machine import Machine, Program
from tests.integration.recipes import DOCUMENTS, Recipe, commandsOf, complaints, recipesOf
from tests.integration.twistd import ROOT, TWISTD

_README = ROOT / "README.rst"

_ELSEWHERE = {
    "openssl rand -hex 32 >link.key": "tests.integration.test_links",
    "twistd -n websockify --link-key @link.key --web-auth --web /usr/share/novnc": "likewise",
    "twistd -n websockify --token-plugin JWTTokenApi --token-source /etc/wsproxy/issuer.pem": "likewise",
    "twistd -n websockify … --check && systemctl restart wsproxy": "tests.integration.test_inspection",
    "certbot certonly --standalone --key-type ecdsa -d console.example.com": "it asks an authority on the Internet",
    "docker build -t wsproxy .": "tests.integration.test_container does what its file says",
    "docker run -p 6080:6080 wsproxy --target console.example.com:5900": "likewise",
    "pipx install wsproxy": "likewise, of the wheel as it is built",
    "systemctl enable --now wsproxy.socket": "nobody is there to be told; the units are tried out here",
    "twistd -n websockify --listen 6080 --target wss://console.example/attach": "tests.integration.test_webtarget",
    "twistd -n websockify --listen 6080 --target localhost:7000": "tests.e2e.test_benchmarks",
    "vncpasswd": "tests.e2e.test_desktop",
    "twistd -n --pidfile= websockify --listen 5901 --wrap-mode ignore -- vncserver :1 -localhost no": "likewise",
    "twistd -n --pidfile= websockify --listen 5901 --wrap-mode ignore --web /usr/share/novnc -- "
    "vncserver :1 -localhost no": "likewise",
}
"""Commands that no test here runs, and why or where."""

_CHECKED = """
for attempt in $(seq 200); do
    state=$(echo "show stat" | socat - UNIX:/run/haproxy.sock 2>&1 | grep ^consoles,wsproxy,)
    case $state in *,L7OK,*) exit 0;; *,DOWN,*) break;; esac
    sleep 0.1
done
echo "$state"; exit 1
"""
"""Waits until HAProxy has looked at the proxy, and found it in good health."""

_OLD = """
import socket
with socket.create_connection(("localhost", 6080)) as browser:
    browser.sendall(b"GET / HTTP/1.1\\r\\nUpgrade: WebSocket\\r\\nConnection: Upgrade\\r\\n")
    browser.sendall(b"Host: localhost:6080\\r\\n\\r\\n")
    heard = b""
    while not heard.endswith(b"\\xff"):
        heard += browser.recv(4096)
print(heard.decode("latin-1"))
"""
"""Asks as Hixie-75 has it, and shows what it is told up to the end of the first message."""

_LIVE = "/etc/letsencrypt/live/console.example.com"


def _recipe(title: str, document: Path = _README) -> Recipe:
    """The first literal block under a title."""
    return next(recipe for recipe in recipesOf(document) if recipe.title == title)


class DocumentTests(SynchronousTestCase):
    def test_markup(self) -> None:
        """Every document is well-formed reStructuredText, with no directive that only Sphinx knows."""
        self.assertEqual({path.name: complaints(path) for path in DOCUMENTS if complaints(path)}, {})

    def test_everyCommandIsRun(self) -> None:
        """There is a test of each command line that the documents show."""
        told = {command for path in DOCUMENTS for recipe in recipesOf(path) for command in commandsOf(recipe.text)}
        here = re.sub(r'"\s+"', "", Path(__file__).read_text())
        self.assertEqual([command for command in sorted(told - set(_ELSEWHERE)) if f'"{command}"' not in here], [])
        self.assertLessEqual(set(_ELSEWHERE), told)


class RecipeCase(SynchronousTestCase):
    """Tests on a machine of their own."""

    def setUp(self) -> None:
        require("root, for namespaces", lambda: os.geteuid() == 0)
        for program in ("unshare", "nsenter", "ip", "curl"):
            requireComponent(program)
        self.machine = Machine(SSL_CERT_FILE="/etc/wsproxy-tests.pem")
        self.addCleanup(self.machine.close)

    def shown(self, command: str) -> str:
        """@return: C{command}, which stands in a document."""
        everywhere = [found for path in DOCUMENTS for recipe in recipesOf(path) for found in commandsOf(recipe.text)]
        self.assertIn(command, everywhere)
        return command

    def openToAll(self) -> None:
        """Have a twistd that a lesser user can go on with: the tests' own may lie where only root can look."""
        python = pythonForEverybody()
        require("a Python that every user can run", lambda: python)
        run = f"#!{python}\nfrom twisted.scripts.twistd import run\nrun()\n"
        self.machine.write("/opt/tests/twistd", run)
        self.machine.run("chmod -R 755 /opt/tests")
        self.machine.environment["PYTHONPATH"] = PATHS

    def listening(self, command: str, folder: str = "/") -> None:
        """Run a command of the documents until it listens. It is one that ends well when it is asked to."""
        program = self.machine.start(self.shown(command), folder)
        program.line(r"starting on|Listening on")
        self.addCleanup(lambda: self.assertEqual(program.stop(), 0))

    def certificate(self, name: str, *paths: str) -> None:
        """Have a certificate for C{name}, that everybody trusts, in each of these files, with its key."""
        self.machine.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
            f"-keyout /run/key -out /run/cert -subj /CN={name} -addext subjectAltName=DNS:{name}"
        )
        for path in ("/etc/wsproxy-tests.pem", *paths):
            self.machine.run(f"sh -c 'mkdir -p {os.path.dirname(path)} && cat /run/key /run/cert > {path}'")


class AdminTests(RecipeCase):
    """The admin side, and who asks it."""

    def test_socket(self) -> None:
        """On a socket file: C{wsproxy sessions} and curl."""
        self.machine.run("mkdir -p /run/wsproxy")
        self.listening("twistd -n websockify --target localhost:5900 --admin unix:/run/wsproxy/admin.sock")
        wsproxy = os.path.join(os.path.dirname(TWISTD), "wsproxy")
        self.assertIn("CLIENT", self.machine.run(f"{wsproxy} sessions"))
        asked = self.machine.run("curl --unix-socket /run/wsproxy/admin.sock http://localhost/sessions")
        self.assertIn('{"sessions":[]', asked)

    def test_tokens(self) -> None:
        """Over TCP: with the token, and without."""
        self.machine.run("mkdir -p /etc/wsproxy")
        for command in (
            "openssl rand -hex 32 >/etc/wsproxy/admin.token",
            "openssl rand -hex 32 >/etc/wsproxy/prometheus.token",
        ):
            self.machine.run(f"sh -c '{self.shown(command)}'")
        self.listening(
            "twistd -n websockify --target localhost:5900 --admin 127.0.0.1:9090 "
            "--admin-token @/etc/wsproxy/admin.token --admin-read-token @/etc/wsproxy/prometheus.token"
        )
        wsproxy = os.path.join(os.path.dirname(TWISTD), "wsproxy")
        shown = "--admin 127.0.0.1:9090 --admin-token @/etc/wsproxy/admin.token"
        self.assertIn("CLIENT", self.machine.run(f"{wsproxy} top --once {shown}"))
        self.assertIn("A token is needed", self.machine.run("curl http://127.0.0.1:9090/sessions"))


class TargetTests(RecipeCase):
    """Every kind of target."""

    def test_first(self) -> None:
        """The command at the top."""
        self.machine.greet("VNC", "tcp", "127.0.0.1", "5900")
        self.listening("twistd -n --pidfile= websockify --listen 6080 --target localhost:5900")
        self.assertEqual(self.machine.greeting("ws://localhost:6080/"), "binary VNC")

    def test_telnet(self) -> None:
        self.machine.greet("telnet", "tcp", "127.0.0.1", "23")
        self.listening("twistd -n --pidfile= websockify --listen 2080 --target localhost:23")
        self.assertEqual(self.machine.greeting("ws://localhost:2080/"), "binary telnet")

    def test_ssh(self) -> None:
        self.machine.greet("SSH-2.0", "tcp", "::1", "22")
        self.listening("twistd -n --pidfile= websockify --listen 2280 --target '[::1]:22' --subprotocol ssh")
        self.assertEqual(self.machine.greeting("ws://localhost:2280/", "ssh"), "ssh SSH-2.0")

    def test_redis(self) -> None:
        self.machine.run("mkdir -p /run/redis")
        self.machine.greet("redis", "unix", "/run/redis/redis.sock")
        self.listening("twistd -n --pidfile= websockify --listen 6380 --target unix:/run/redis/redis.sock")
        self.assertEqual(self.machine.greeting("ws://localhost:6380/"), "binary redis")

    def test_broker(self) -> None:
        """A target over TLS, verified by its name."""
        self.certificate("broker.example.com", "/run/broker.pem")
        self.machine.write("/etc/hosts", "127.0.0.1 localhost broker.example.com\n")
        self.machine.greet("broker", "tls", "127.0.0.1", "8883", "/run/broker.pem")
        self.listening(
            "twistd -n --pidfile= websockify --listen 8083 --target tls:broker.example.com:8883 --subprotocol mqtt"
        )
        self.assertEqual(self.machine.greeting("ws://localhost:8083/mqtt", "mqtt"), "mqtt broker")

    def test_legacy(self) -> None:
        """C{docs/legacy.rst}: a browser of 2009."""
        self.machine.greet("VNC", "tcp", "127.0.0.1", "5900")
        self.listening("twistd -n websockify --legacy --listen 6080 --target localhost:5900", "/run")
        self.assertIn("\0Vk5DCg==\xff", self.machine.run([sys.executable, "-c", _OLD]))

    def test_tokens(self) -> None:
        """C{docs/access.rst}: each token leads where a line of a file says."""
        self.machine.run("mkdir -p /etc/wsproxy")
        self.machine.write("/etc/wsproxy/tokens", "8a5fd9b2e3: 127.0.0.1:5901\n")
        self.machine.greet("VNC", "tcp", "127.0.0.1", "5901")
        self.listening(
            "twistd -n --pidfile= websockify --listen 6080 --token-plugin TokenFile --token-source /etc/wsproxy/tokens"
        )
        self.assertEqual(self.machine.greeting("ws://localhost:6080/websockify?token=8a5fd9b2e3"), "binary VNC")

    def test_recorded(self) -> None:
        """C{docs/recording.rst}: each session becomes a file."""
        self.machine.run("mkdir -p /var/lib/consoles")
        self.machine.greet("VNC", "tcp", "127.0.0.1", "5900")
        self.listening("twistd -n --pidfile= websockify --target localhost:5900 --record /var/lib/consoles/vnc")
        self.machine.greeting("ws://localhost:6080/")
        self.assertIn("VNC", self.machine.run("cat /var/lib/consoles/vnc.1"))


class PageTests(RecipeCase):
    def test_noVNC(self) -> None:
        """The page that the recipe names is there, and it is the one that the log tells to open."""
        sources = os.environ.get("WSPROXY_NOVNC", "")
        require("the sources of noVNC", lambda: os.path.exists(f"{sources}/vnc.html"))
        self.machine.run(f"cp -r {shlex.quote(sources)} /usr/share/novnc")
        self.machine.greet("RFB 003.008", "tcp", "127.0.0.1", "5900")
        command = "twistd -n --pidfile= websockify --listen 6080 --target localhost:5900 --web /usr/share/novnc"
        program = self.machine.start(self.shown(command))
        page = program.line(r"Open (http://localhost:6080/\S*)")[1]
        self.assertEqual(page, "http://localhost:6080/vnc.html")
        self.assertEqual(self.machine.fetch(page), f"200 {page}")
        self.assertEqual(self.machine.greeting("ws://localhost:6080/websockify"), "binary RFB 003.008")


class TLSTests(RecipeCase):
    def test_letsEncrypt(self) -> None:
        """With certbot's files; plaintext is refused."""
        self.certificate("console.example.com", f"{_LIVE}/fullchain.pem", f"{_LIVE}/privkey.pem")
        self.machine.greet("VNC", "tcp", "127.0.0.1", "5900")
        self.listening(
            "twistd -n --pidfile= websockify --listen 443 --ssl-only --target localhost:5900 "
            "--cert /etc/letsencrypt/live/console.example.com/fullchain.pem "
            "--key /etc/letsencrypt/live/console.example.com/privkey.pem"
        )
        self.assertEqual(self.machine.greeting("wss://localhost/"), "binary VNC")
        self.assertEqual(self.machine.fetch("http://localhost:443/")[:3], "400")

    def test_selfSigned(self) -> None:
        """C{self.pem} is used without being named, and clients that are told of it can verify it."""
        self.machine.run(
            self.shown(
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=localhost "
                "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout self.pem -out self.pem"
            ),
            "/run",
        )
        self.machine.greet("VNC", "tcp", "127.0.0.1", "5900")
        self.listening("twistd -n --pidfile= websockify --listen 6080 --target localhost:5900", "/run")
        self.assertEqual(self.machine.greeting("wss://localhost:6080/"), "binary VNC")
        for host in ("localhost", "127.0.0.1"):
            said = self.machine.run(f"sleep 1 | wsproxy connect -q --cafile /run/self.pem wss://{host}:6080/")
            self.assertIn("VNC", said)

    def test_workers(self) -> None:
        self.certificate("console.example.com", "/run/site.pem")
        self.machine.greet("VNC", "tcp", "127.0.0.1", "5900")
        self.listening(
            "twistd -n --pidfile= websockify --workers auto --listen 443 --ssl-only --cert site.pem "
            "--target localhost:5900",
            "/run",
        )
        self.assertEqual(self.machine.greeting("wss://localhost/"), "binary VNC")


class FrontTests(RecipeCase):
    """Behind other people's proxies."""

    def setUp(self) -> None:
        super().setUp()
        self.machine.greet("VNC", "tcp", "127.0.0.1", "5900")
        self.listening("twistd -n --pidfile= websockify --listen 6080 --target localhost:5900")

    def test_nginx(self) -> None:
        """Below a path: the pages, all that they load, and the WebSocket, for a page of that host."""
        requireComponent("nginx", "/usr/sbin/nginx")
        server = _recipe("Behind nginx").text
        self.machine.write(
            "/run/nginx.conf",
            "daemon off; pid /run/nginx.pid; error_log stderr; events {} "
            f"http {{ access_log off; server {{ listen 8080; {server} }} }}",
        )
        self.machine.start("nginx -c /run/nginx.conf -g 'error_log stderr notice;'").line("start worker process")
        self.assertEqual(self.machine.fetch("http://localhost:8080/console/"), "200 http://localhost:8080/console/")
        for page in ("wstelnet.html", "wsvnc.html", "wsirc.html", "websock.js"):
            self.assertEqual(self.machine.fetch(f"http://localhost:8080/console/{page}")[:3], "200")
        greeting = self.machine.greeting("ws://localhost:8080/console/?token=a")
        self.assertEqual(greeting, "binary VNC")

    def test_haproxy(self) -> None:
        """TLS ends there; the health check finds the proxy up."""
        requireComponent("haproxy", "/usr/sbin/haproxy")
        requireComponent("socat")
        self.certificate("localhost", "/etc/haproxy/site.pem")
        recipe = _recipe("Behind HAProxy").text
        self.machine.write("/run/haproxy.cfg", f"global\n    stats socket /run/haproxy.sock\n{recipe}\n")
        self.machine.start("haproxy -db -f /run/haproxy.cfg")
        self.machine.run(["sh", "-c", _CHECKED])
        self.assertEqual(self.machine.fetch("https://localhost/"), "200 https://localhost/")
        self.assertEqual(self.machine.greeting("wss://localhost/"), "binary VNC")


class ServiceTests(RecipeCase):
    def test_systemd(self) -> None:
        """The unit is valid, and what it starts, started as systemd does, serves and records."""
        requireComponent("systemd-analyze")
        unit = _recipe("systemd").text
        self.machine.run("mkdir -p /opt/wsproxy/bin /run/state /run/credentials")
        self.machine.run(["ln", "-s", TWISTD, "/opt/wsproxy/bin/"])
        self.machine.write("/etc/systemd/system/wsproxy.service", unit)
        self.assertEqual(self.machine.run("systemd-analyze verify --man=no wsproxy.service"), "")
        self.certificate("console.example.com", "/run/credentials/fullchain.pem", "/run/credentials/privkey.pem")
        self.machine.greet("VNC", "tcp", "127.0.0.1", "5900")
        found = re.search(r"ExecStart=((?:.*\\\n)*.*)", unit)
        assert found is not None
        program = self.machine.start(
            found[1].replace("\\\n", " "), CREDENTIALS_DIRECTORY="/run/credentials", STATE_DIRECTORY="/run/state"
        )
        program.line("starting on 443")
        self.assertEqual(self.machine.greeting("wss://localhost/"), "binary VNC")
        self.assertEqual(program.stop(), 0)
        self.assertIn("VNC", self.machine.run("cat /run/state/console.1"))

    def test_socket(self) -> None:
        """The unit is where the recipe puts it, and what it starts, started with a socket, serves."""
        requireComponent("systemd-analyze")
        self.machine.run(
            self.shown("cp docs/systemd/wsproxy.socket docs/systemd/wsproxy.service /etc/systemd/system/"), str(ROOT)
        )
        self.machine.run("mkdir -p /opt/wsproxy/bin")
        self.machine.run(["ln", "-s", TWISTD, "/opt/wsproxy/bin/"])
        self.assertEqual(self.machine.run("systemd-analyze verify --man=no wsproxy.service wsproxy.socket"), "")
        self.machine.greet("VNC", "tcp", "127.0.0.1", "5900")
        unit = self.machine.run("cat /etc/systemd/system/wsproxy.service")
        found = re.search("ExecStart=(.*)", unit)
        assert found is not None
        listening = re.search("ListenStream=(.*)", self.machine.run("cat /etc/systemd/system/wsproxy.socket"))
        assert listening is not None
        started = f"systemd-socket-activate -l {listening[1]} -E PATH -E PYTHONPATH {found[1]}"
        self.activated(self.machine.start(started), "ws://localhost:6080/")

    def activated(self, program: Program, url: str) -> None:
        program.line("Listening on")
        self.assertEqual(self.machine.greeting(url), "binary VNC")
        self.assertEqual(program.stop(), 0)

    def test_activated(self) -> None:
        """C{docs/systemd.rst}: started by its first client."""
        requireComponent("systemd-socket-activate")
        self.machine.greet("VNC", "tcp", "127.0.0.1", "5900")
        command = self.shown(
            "systemd-socket-activate -l 6080 twistd -n --pidfile= websockify --listen systemd: --target localhost:5900 "
            "--idle-timeout 600"
        )
        passing = command.replace(" -l ", " -E PATH -E PYTHONPATH -l ")  # the tests' own are elsewhere
        self.activated(self.machine.start(passing.replace("twistd", TWISTD, 1)), "ws://localhost:6080/")

    def test_daemon(self) -> None:
        """In the background, as a lesser user, on a port that this user could not bind."""
        self.openToAll()
        self.machine.greet("VNC", "tcp", "127.0.0.1", "5900")
        command = self.shown(
            "twistd --uid www-data --gid www-data --pidfile /run/wsproxy.pid --logfile /var/log/wsproxy.log "
            "websockify --listen 80 --target localhost:5900"
        )
        self.machine.run(command)
        pid = int(self.machine.run("cat /run/wsproxy.pid"))
        self.addCleanup(self.machine.run, f"kill -KILL {pid}")
        self.assertEqual(self.machine.greeting("ws://localhost/"), "binary VNC")
        self.assertNotEqual(os.stat(f"/proc/{pid}").st_uid, 0)


class ConfigTests(RecipeCase):
    """C{docs/configuration.rst}: each file, as it stands there."""

    document = ROOT / "docs/configuration.rst"
    command = "twistd -n --pidfile= websockify --config /etc/wsproxy.toml"

    def files(self, title: str) -> list[str]:
        """The files under a title."""
        return [recipe.text for recipe in recipesOf(self.document) if recipe.title == title and " = " in recipe.text]

    def begin(self, text: str) -> Program:
        self.machine.write("/etc/wsproxy.toml", f"{text}\n")
        program = self.machine.start(self.shown(self.command))
        program.line("Room for")
        self.addCleanup(lambda: self.assertEqual(program.stop(), 0))
        return program

    def test_file(self) -> None:
        """The first file, what is in force of it, and a reload."""
        [text] = self.files("")
        self.machine.write("/etc/users", "user:password")
        self.machine.write("/etc/wsproxy.toml", f"{text}\n")
        shown = self.machine.run(self.shown("twistd websockify --config /etc/wsproxy.toml --print-config"))
        self.assertIn('auth-source = "@/etc/users"  # /etc/wsproxy.toml:6', shown)
        program = self.begin(text)
        self.assertEqual(self.machine.fetch("http://localhost:6080/")[:3], "200")
        self.machine.write("/etc/wsproxy.toml", text.replace("heartbeat = 20", "heartbeat = 25"))
        program.signal(signal.SIGHUP)
        program.line("Reloaded: heartbeat 20 → 25$")
        self.machine.write("/etc/wsproxy.toml", shown.replace("heartbeat = 20", "heartbeat = 30"))
        program.signal(signal.SIGHUP)
        program.line("Reloaded: heartbeat 25 → 30$")

    def test_lesserUser(self) -> None:
        """A start warns of what C{--uid} takes away, and a reload that needs it is refused by its name."""
        [text] = self.files("")
        self.openToAll()
        self.machine.write("/etc/users", "user:password")
        self.machine.run("chmod 600 /etc/users")
        self.machine.write("/etc/wsproxy.toml", f"{text}\n")
        program = self.machine.start(
            "twistd -n --pidfile= --uid www-data --gid www-data websockify --config /etc/wsproxy.toml --listen 80"
        )
        program.line("after --uid, a reload can no longer read or bind.*: /etc/users, --listen 80$")
        program.line("Room for")
        program.signal(signal.SIGHUP)
        program.line("Not reloaded, .* /etc/wsproxy.toml:6: --auth-source users: Permission denied$")
        self.machine.run("chmod 644 /etc/users")
        self.machine.write("/etc/wsproxy.toml", text.replace("heartbeat = 20", "heartbeat = 25"))
        program.signal(signal.SIGHUP)
        program.line("Reloaded: heartbeat 20 → 25$")
        self.assertEqual(program.stop(), 0)

    def test_routes(self) -> None:
        """Routes by host and path, over TLS."""
        [text] = self.files("Several ways in")
        self.certificate("console.example.com", f"{_LIVE}/fullchain.pem", f"{_LIVE}/privkey.pem")
        self.machine.write("/etc/hosts", "127.0.0.1 localhost desk.example.com desk lobby\n")
        self.machine.write("/etc/tokens", "one: localhost:5901\n")
        self.machine.run("mkdir -p /var/lib/consoles")
        hashed = bcrypt.hashpw(b"password", bcrypt.gensalt(4)).decode()
        self.machine.write("/etc/htpasswd", f"user:{hashed}\n")
        self.machine.greet("desk", "tcp", "127.0.0.1", "5900")
        self.machine.greet("one", "tcp", "127.0.0.1", "5901")
        self.begin(text)
        self.assertEqual(self.machine.greeting("wss://user:password@desk.example.com/"), "binary desk")
        self.assertEqual(self.machine.greeting("wss://user:password@localhost/consoles/?token=one"), "binary one")
        self.assertEqual(self.machine.greeting("wss://localhost/consoles/public/"), "binary desk")
        self.assertEqual(self.machine.fetch("https://localhost/")[:3], "200")

    def test_listeners(self) -> None:
        """A listener over TLS beside a socket file."""
        [text] = self.files("Several listeners")
        self.certificate("console.example.com", f"{_LIVE}/fullchain.pem", f"{_LIVE}/privkey.pem")
        self.machine.greet("VNC", "tcp", "127.0.0.1", "5900")
        self.begin(text)
        self.assertEqual(self.machine.greeting("wss://localhost/"), "binary VNC")
        self.assertEqual(self.machine.fetch("http://localhost:443/")[:3], "400")
        page = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", "/run/wsproxy.sock", "http://x/"]
        self.assertEqual(self.machine.run(page), "200")


class WrappedTests(RecipeCase):
    """Programs whose port is moved, or that are told where to listen."""

    def test_telnet(self) -> None:
        """A server that serves one client and ends is there for the next one as well."""
        requireComponent("in.telnetd", "/usr/sbin/in.telnetd")
        self.listening("twistd -n --pidfile= websockify --listen 2023 --wrap-mode respawn -- in.telnetd -debug 2023")
        for _ in range(2):
            self.assertIn("binary", self.machine.greeting("ws://localhost:2023/"))

    def test_wswrap(self) -> None:
        """Redis serves WebSocket clients on its port, and its own ones as before."""
        requireComponent("redis-server")
        self.listening("wswrap 6379 redis-server --port 6379", "/run")
        self.assertEqual(self.machine.run("redis-cli -p 6379 ping"), "PONG\n")
        self.assertEqual(self.machine.answer("ws://localhost:6379/", "PING\r\n"), "+PONG")

    def test_webServer(self) -> None:
        """The end of a container's program is the container's."""
        program = self.machine.start(
            self.shown("exec twistd -n --pidfile= websockify --listen 8000 -- python3 -m http.server 8000"), "/run"
        )
        program.line("starting on 8000")
        self.assertIn("200", self.machine.answer("ws://localhost:8000/", "GET / HTTP/1.0\r\n\r\n"))
        self.assertEqual(program.stop(), 0)

    def test_port(self) -> None:
        """A program that takes a port."""
        requireComponent("busybox")
        self.listening("twistd -n --pidfile= websockify --listen 8000 -- busybox httpd -f -p 127.0.0.1:{port}", "/run")
        self.assertIn("HTTP/1", self.machine.answer("ws://localhost:8000/", "GET / HTTP/1.0\r\n\r\n"))

    def test_socket(self) -> None:
        """A program that takes a unix socket."""
        requireComponent("redis-server")
        self.listening(
            "twistd -n --pidfile= websockify --listen 6380 -- redis-server --port 0 --unixsocket {socket}", "/run"
        )
        self.assertEqual(self.machine.answer("ws://localhost:6380/", "PING\r\n"), "+PONG")

    def test_privileges(self) -> None:
        """The program has the rights of the lesser user from its first instruction, and still a port below 1024."""
        self.machine.write("/opt/tests/someserver", "#!/bin/sh\nexec socat TCP-LISTEN:$2,fork SYSTEM:'id -un'\n")
        self.openToAll()
        program = self.machine.start(
            self.shown(
                "twistd -n --pidfile= --uid www-data --gid www-data websockify --listen 80 --wrap-mode respawn -- "
                "someserver --port 80"
            ),
            "/run",
        )
        program.line("starting on 80")
        self.assertEqual(self.machine.greeting("ws://localhost/"), "binary www-data")
        self.assertEqual(program.stop(), 0)


class EndpointTests(RecipeCase):
    """WebSockets for programs that know of none."""

    def test_conch(self) -> None:
        """
        conch listens over WebSocket, as typed on a new machine; a proxy of raw clients leads to it, and so does
        C{wsproxy connect}.
        """
        for program in ("ssh-keygen", "socat"):
            requireComponent(program)
        keys = "mkdir keys && ssh-keygen -q -t ed25519 -N '' -f keys/ssh_host_ed25519_key"
        self.assertIn(keys, (ROOT / "docs/endpoints.rst").read_text())
        self.machine.run(["sh", "-c", keys], "/run")
        conch = r"twistd -n conch --data keys --auth sshkey --port 'websocket:tcp\:6080\:interface=127.0.0.1:path=/ssh'"
        self.machine.start(self.shown(conch), "/run").line("ServiceFactory starting on 6080")
        self.assertIn("binary SSH-2.0-Twisted", self.machine.greeting("ws://127.0.0.1:6080/ssh"))
        raw = self.shown("twistd -n websockify --listen 127.0.0.1:5901 --raw-only --target env:CONSOLE_URL")
        self.machine.start(raw, "/opt", CONSOLE_URL="ws://127.0.0.1:6080/ssh").line("starting on 5901")
        self.assertIn("SSH-2.0-Twisted", self.machine.run("sleep 1 | socat -t 1 - TCP:127.0.0.1:5901 | head -n 1"))
        said = self.machine.run("sleep 1 | wsproxy connect -q ws://127.0.0.1:6080/ssh | head -n 1")
        self.assertIn("SSH-2.0-Twisted", said)

    def test_words(self) -> None:
        """An IRC server listens over WebSocket, and needs nothing else."""
        command = self.shown(r"twistd -n words --irc-port 'websocket:tcp\:6080' --auth memory:al:sesame:bo:sesame")
        self.machine.start(command, "/run").line("starting on 6080")
        said = self.machine.answer("ws://127.0.0.1:6080/", "PASS sesame\r\nNICK al\r\nUSER al x x :al\r\n")
        self.assertIn(" al ", said)
