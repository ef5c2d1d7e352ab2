"""The settings of one proxy as a frozen value: what the command line, a file or an embedder decided.

They stand in groups, those of C{--help}; whoever needs some takes their group. A default is written here and nowhere
else.

No Twisted in here. Times are in seconds, sizes in bytes, paths absolute. Parsing and complaints are the command's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from types import NoneType
from typing import Any, get_args, get_type_hints

__all__ = [
    "GROUPS",
    "AccessConfig",
    "AdminConfig",
    "AuthenticationConfig",
    "ClientsConfig",
    "ClusterConfig",
    "Config",
    "FileConfig",
    "InspectionConfig",
    "LifetimeConfig",
    "LimitsConfig",
    "LinksConfig",
    "ListenerConfig",
    "ListeningConfig",
    "LoggingConfig",
    "ProgramConfig",
    "ProxiesConfig",
    "RecordingConfig",
    "RouteConfig",
    "SessionsConfig",
    "TLSConfig",
    "TargetConfig",
    "TokensConfig",
    "WebConfig",
    "asKeywords",
    "asPlain",
    "fromPlain",
]


@dataclass(frozen=True, slots=True)
class ListeningConfig:
    """
    Where to listen, and in how many processes.

    @ivar listen: empty where a program's ports are listened on.
    @ivar workers: those beside their parent; 0: there is no parent, and all is done in one process.
    @ivar inetd: serve the socket that is stdin, and listen nowhere.
    """

    listen: tuple[str, ...] = ("6080",)
    workers: int = 0
    inetd: bool = False


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """
    Where the data goes.

    @ivar endpoint: L{None} only where a resolver or a wrapped program takes its place.
    @ivar tls: speak it, whatever C{endpoint} says.
    @ivar authorities: the file of those to trust instead of the system's.
    """

    endpoint: str | None = None
    connectTimeout: float = 10.0
    tls: bool = False
    authorities: str | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class TokensConfig:
    """
    Tokens, each of which says where its session leads.

    @ivar plugin: who knows them: one of ours, or C{package.module.Class}.
    @ivar source: what it is made with; perhaps a secret.
    @ivar file: a file, or a directory of files, that knows them instead.
    @ivar host: the token is the C{Host}, not C{?token=}.
    @ivar path: besides, a path with C{{token}} in it.
    @ivar header: a header's name.
    @ivar cookie: a cookie's name.
    @ivar sockets: a class of somebody's own that answers C{unix_socket} and a path may, as with websockify.
    """

    plugin: str | None = None
    source: str | None = None
    file: str | None = None
    host: bool = False
    path: str | None = None
    header: str | None = None
    cookie: str | None = None
    sockets: bool = False

    @property
    def areKnown(self) -> bool:
        """Whether anybody knows them."""
        return self.plugin is not None or self.file is not None

    def __repr__(self) -> str:
        return f"<TokensConfig {self.plugin or self.file}>"


@dataclass(frozen=True, slots=True)
class ProgramConfig:
    """
    A program to run, whose port is that of L{ListeningConfig.listen}.

    @ivar words: the program and its arguments.
    @ivar mode: what its end means: C{"exit"}, C{"ignore"} or C{"respawn"}.
    @ivar everyPort: listen wherever the program does.
    @ivar address: where it listens, a target, if that is known: nothing is moved then.
    """

    words: tuple[str, ...]
    mode: str = "exit"
    everyPort: bool = False
    address: str | None = None


@dataclass(frozen=True, slots=True)
class ClientsConfig:
    """What clients are offered until they have a session; L{WebSockifyFactory<wsproxy.factory.WebSockifyFactory>}'s."""

    handshakeTimeout: float = 10.0
    raw: bool = False
    rawAfter: float = 1.0
    legacy: bool = False
    rawOnly: bool = False
    flashPolicy: bool = True


@dataclass(frozen=True, slots=True)
class ProxiesConfig:
    """
    Who clients are, behind proxies in front and for targets, and which may come in.

    @ivar allow: the addresses of those who may; empty: anybody.
    @ivar trusted: proxies in front that are believed.
    @ivar send: C{"v1"} or C{"v2"}: what targets are told of their clients; L{None}: nothing.
    """

    allow: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    send: str | None = None


@dataclass(frozen=True, slots=True)
class SessionsConfig:
    """Who gets a session, and how it is kept; L{WebSockifyFactory<wsproxy.factory.WebSockifyFactory>}'s."""

    origins: tuple[str, ...] = ()
    originRequired: bool = False
    subprotocols: tuple[str, ...] = ()
    text: bool = False
    heartbeat: float = 25.0
    bandwidth: float = 0.0
    sessionTimeout: float = 0.0
    sessionIdleTimeout: float = 0.0
    pump: bool = True


@dataclass(frozen=True, slots=True)
class AuthenticationConfig:
    """
    Who clients are, and who says so: of C{plugin}, C{checker} and C{url} one, or none.

    @ivar plugin: one of ours by its name, or C{package.module.Class}.
    @ivar source: what it is made of; may be a secret.
    @ivar checker: the string of a credential checker of Twisted's; may hold one.
    @ivar url: that of a verifier, which is shown each request.
    @ivar copy: names of headers of its answer; the first is who the client is.
    @ivar recheck: how often it is asked again about an open session; 0: never.
    @ivar web: pages and files are only for those who are let in.
    """

    plugin: str | None = None
    source: str | None = None
    checker: str | None = None
    url: str | None = None
    copy: tuple[str, ...] = ()
    recheck: float = 0.0
    web: bool = False

    def __repr__(self) -> str:
        return f"<AuthenticationConfig {self.plugin}>"


@dataclass(frozen=True, slots=True)
class LinksConfig:
    """
    Signed tokens, and links.

    @ivar key: what links are signed with; L{None} for no links.
    @ivar audience: who a token must be for; L{None}: whoever.
    @ivar issuer: whom it must be from, likewise.
    """

    key: str | None = None
    audience: str | None = None
    issuer: str | None = None

    def __repr__(self) -> str:
        return f"<LinksConfig {self.audience} {self.issuer}>"


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """
    Where sessions may lead, of that which tokens and links say: patterns.

    @ivar tokenRevokes: a token that is taken back ends its sessions.
    """

    allowTargets: tuple[str, ...] = ()
    denyTargets: tuple[str, ...] = ()
    tokenRevokes: bool = False


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """
    How many sessions there may be at a time. Each 0: as many as there are.

    @ivar bandwidthPerIdentity: bytes a second of all sessions of one identity, in each direction; 0: no limit.
    """

    sessions: int = 0
    perClient: int = 0
    perIdentity: int = 0
    perToken: int = 0
    bandwidthPerIdentity: float = 0.0


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """
    What nodes have in common.

    @ivar url: of a Redis; it may hold a password.
    @ivar required: let nobody in while that is away.
    """

    url: str | None = None
    required: bool = False

    def __repr__(self) -> str:
        return "<ClusterConfig>"


@dataclass(frozen=True, slots=True)
class TLSConfig:
    """
    Files and limits of the TLS side.

    @ivar only: refuse plaintext.
    @ivar minimum: C{"tlsv1_2"} or C{"tlsv1_3"}.
    """

    certificate: str
    key: str | None = None
    password: str | None = None
    only: bool = False
    minimum: str = "tlsv1_2"
    ciphers: str | None = None
    verifyClient: bool = False
    authorities: str | None = None

    def __repr__(self) -> str:
        return f"<TLSConfig {self.certificate}>"


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The files of a directory, if there is one, and whether the proxy's own pages are served."""

    directory: str | None = None
    index: str = "index.html"
    listing: bool = False
    pages: bool = True


@dataclass(frozen=True, slots=True)
class RecordingConfig:
    """Sessions on file: C{path} is a pattern; 0 for C{maxSize} and C{keep} is no limit."""

    path: str
    maxSize: int = 0
    keep: int = 0
    required: bool = False


@dataclass(frozen=True, slots=True)
class LifetimeConfig:
    """
    When a proxy ends by itself, and how long its end may take. Each 0: never, or not at all.

    @ivar upgradeLimit: how long sessions may stay with the code that was there before an upgrade; 0: as long as they
        like.
    """

    runOnce: bool = False
    timeout: float = 0.0
    idleTimeout: float = 0.0
    drain: float = 0.0
    upgradeLimit: float = 0.0


@dataclass(frozen=True, slots=True)
class LoggingConfig:
    """
    What is told beyond the sessions, and how.

    @ivar original: the lines that websockify writes.
    @ivar format: C{"text"}, as twistd has it, or C{"json"}.
    @ivar level: what is logged at least: C{"debug"}, C{"info"}, C{"warn"}, C{"error"} or C{"critical"}.
    """

    verbose: bool = False
    traffic: bool = False
    original: bool = False
    format: str = "text"
    level: str = "info"


@dataclass(frozen=True, slots=True)
class AdminConfig:
    """
    What operators see of it while it runs, and do to it.

    @ivar endpoint: where they may; L{None}: nowhere.
    @ivar token: what they show there.
    @ivar readToken: what is good for reading alone.
    @ivar hosts: names by which it is called there, beside addresses and C{localhost}.
    @ivar health: where anybody may ask whether it is well; L{None}: nowhere.
    """

    endpoint: str | None = None
    token: str | None = None
    readToken: str | None = None
    hosts: tuple[str, ...] = ()
    health: str | None = None

    @property
    def wanted(self) -> bool:
        return self.endpoint is not None or self.health is not None

    def __repr__(self) -> str:
        return f"<AdminConfig {self.endpoint}>"


@dataclass(frozen=True, slots=True)
class InspectionConfig:
    """
    What to tell instead of serving anybody.

    @ivar explain: a URL: what would become of a request for it; may hold a secret.
    @ivar headers: of that request, each C{NAME: VALUE}; so may these.
    @ivar client: where it would come from: an IP address, or C{"unix"}.
    @ivar check: whether there is anything wrong.
    @ivar settings: what all settings are, and where each comes from.
    """

    explain: str | None = None
    headers: tuple[str, ...] = ()
    client: str | None = None
    check: bool = False
    settings: bool = False

    @property
    def wanted(self) -> bool:
        return self.check or self.settings or self.explain is not None

    def __repr__(self) -> str:
        return f"<InspectionConfig {'explain' if self.explain is not None else 'check' if self.check else 'nothing'}>"


@dataclass(frozen=True, slots=True)
class FileConfig:
    """
    The file that settings come from.

    @ivar path: L{None} where there is none.
    """

    path: str | None = None


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """
    One of C{ListeningConfig.listen}, the last of them, that has a TLS side of its own.

    @ivar tls: L{None} for none.
    """

    listen: str
    tls: TLSConfig | None


@dataclass(frozen=True, slots=True)
class RouteConfig:
    """
    One of several ways in.

    @ivar host: in lower case; L{None}: any.
    @ivar path: what the path of a request begins with, decoded.
    @ivar config: what holds there. Of its groups those count that are about one session, and its limits are those of
        this way alone.
    """

    host: str | None
    path: str
    config: Config

    @property
    def name(self) -> str:
        """What it is called in the log, and where sessions are counted."""
        return f"{self.host or '*'}{self.path}"


@dataclass(frozen=True, slots=True)
class Config:
    """
    Everything C{twistd websockify} can be told.

    @ivar routes: where there are any, they say what becomes of requests; C{target} and the like say nothing then.
    """

    listening: ListeningConfig = ListeningConfig()
    target: TargetConfig = TargetConfig()
    tokens: TokensConfig = TokensConfig()
    program: ProgramConfig | None = None
    clients: ClientsConfig = ClientsConfig()
    proxies: ProxiesConfig = ProxiesConfig()
    sessions: SessionsConfig = SessionsConfig()
    authentication: AuthenticationConfig = AuthenticationConfig()
    links: LinksConfig = LinksConfig()
    access: AccessConfig = AccessConfig()
    limits: LimitsConfig = LimitsConfig()
    cluster: ClusterConfig = ClusterConfig()
    tls: TLSConfig | None = None
    web: WebConfig = WebConfig()
    recording: RecordingConfig | None = None
    lifetime: LifetimeConfig = LifetimeConfig()
    logging: LoggingConfig = LoggingConfig()
    admin: AdminConfig = AdminConfig()
    inspection: InspectionConfig = InspectionConfig()
    file: FileConfig = FileConfig()
    routes: tuple[RouteConfig, ...] = ()
    listeners: tuple[ListenerConfig, ...] = ()


_SEVERAL = ("routes", "listeners")
"""What is no group."""


def _group(hint: Any) -> type[Any]:
    """The class in C{X} and C{X | None}."""
    kinds: list[type[Any]] = [kind for kind in get_args(hint) or (hint,) if kind is not NoneType]
    return kinds[0]


GROUPS = {name: _group(hint) for name, hint in get_type_hints(Config).items() if name not in _SEVERAL}
"""The class of each group, by its field of L{Config}."""


def asKeywords(group: ClientsConfig | SessionsConfig) -> dict[str, Any]:
    """@return: what L{WebSockifyFactory<wsproxy.factory.WebSockifyFactory>} takes of this group, by the same names."""
    return asdict(group)


def asPlain(config: Config) -> dict[str, Any]:
    """@return: the settings as JSON can say them, secrets included."""
    return asdict(config)


def fromPlain(plain: dict[str, Any]) -> Config:
    """@param plain: what became of L{asPlain} in JSON, whose arrays are our tuples."""
    routes = tuple(RouteConfig(**route | {"config": fromPlain(route["config"])}) for route in plain["routes"])
    listeners = tuple(
        ListenerConfig(each["listen"], each["tls"] and TLSConfig(**each["tls"])) for each in plain["listeners"]
    )
    groups = {
        name: fields and GROUPS[name](**_tuples(fields)) for name, fields in plain.items() if name not in _SEVERAL
    }
    return Config(routes=routes, listeners=listeners, **groups)


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
