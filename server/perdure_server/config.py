"""Owns what a server can be told: the only reader of the environment.

Every option may be given as an argument or as a variable `PERDURE_<NAME>`; the argument wins.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

DATABASE_NAME: Final = "perdure.db"
DEFAULT_DATA: Final = ".perdure"
DEFAULT_GRPC: Final = "127.0.0.1:7766"
DEFAULT_HTTP: Final = "127.0.0.1:8080"
DEFAULT_SCHEMA: Final = "perdure"
OWN_POSTGRES: Final = "postgres"
"""Names the PostgreSQL that `perdure dev` runs itself."""
POSTGRES_SCHEMES: Final = ("postgresql", "postgres")
DEFAULT_LOG_LEVEL: Final = "info"
DEFAULT_GRACE_SECONDS: Final = 5.0
AUTH_NONE: Final = "none"
AUTH_KEYS: Final = "keys"
PORT_MAX: Final = 65_535
PROCESSES_MAX: Final = 64
"""Each has connections of its own to the database, which has about a hundred by default."""
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


class ConfigError(Exception):
    """The server cannot be started as it was told; the text says why and what to do."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Config:
    """How to run a server."""

    data: Path
    """The folder that holds everything that must survive."""
    store: str | None = None
    """The PostgreSQL that holds it instead, as a URL; None is SQLite in that folder."""
    own_postgres: bool = False
    """Whether that PostgreSQL is run for this server, in the folder; its URL comes with it."""
    schema: str = DEFAULT_SCHEMA
    """The schema of that database that the tables stand in."""
    grpc: str = DEFAULT_GRPC
    """HOST:PORT to listen on; port 0 lets the system choose."""
    http: str | None = None
    """HOST:PORT of an Envoy beside the server, its port likewise; None starts none."""
    envoy: Path | None = None
    """The Envoy to start instead of the installed one."""
    insecure: bool = False
    """Whether an address that other machines reach is allowed, although nobody needs a key."""
    auth: str = AUTH_NONE
    """Whether callers need an API key: `keys`, or `none`."""
    log_level: str = DEFAULT_LOG_LEVEL
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    """How long calls may go on after the server was told to stop."""
    processes: int = 1
    """How many servers share the database from this machine, each on a port of its own."""

    def __post_init__(self) -> None:
        """Refuses what cannot be or must not be; raises ConfigError."""
        if self.auth not in (AUTH_NONE, AUTH_KEYS):
            raise ConfigError(f"{self.auth!r} is no way to authenticate: use {AUTH_KEYS}")
        self._check_address(self.grpc)
        if self.http is not None:
            self._check_address(self.http)
        if self.store is not None:
            _check_store(self.store)
        if self.log_level not in LOG_LEVELS:
            raise ConfigError(f"{self.log_level!r} is not a log level: use {', '.join(LOG_LEVELS)}")
        # Written so that NaN is refused too.
        if not 0 <= self.grace_seconds < math.inf:
            raise ConfigError(f"grace_seconds is {self.grace_seconds}: use 0 or more")
        self._check_processes()

    @property
    def place(self) -> str:
        """Where the data is, in words that hold no secret."""
        if self.store is None or self.own_postgres:
            return str(self.data)
        return without_password(self.store)

    @property
    def database(self) -> Path:
        """The database file."""
        return self.data / DATABASE_NAME

    @property
    def addresses(self) -> list[str]:
        """Where each of the servers listens: on the port named and those that follow it."""
        host, separator, port = self.grpc.rpartition(":")
        first = int(port)
        ports = range(first, first + self.processes) if first else [0] * self.processes
        return [f"{host}{separator}{port}" for port in ports]

    def as_environment(self) -> dict[str, str]:
        """Returns the variables that make `read_config` return this, for a server of gRPC alone."""
        return {
            "PERDURE_DATA": str(self.data),
            "PERDURE_STORE": self.store or "",
            "PERDURE_SCHEMA": self.schema,
            "PERDURE_GRPC": self.grpc,
            "PERDURE_INSECURE": "true" if self.insecure else "false",
            "PERDURE_AUTH": self.auth,
            "PERDURE_LOG_LEVEL": self.log_level,
            "PERDURE_GRACE_SECONDS": str(self.grace_seconds),
            "PERDURE_PROCESSES": str(self.processes),
        }

    def _check_processes(self) -> None:
        if not 1 <= self.processes <= PROCESSES_MAX:
            raise ConfigError(f"{self.processes} processes cannot be: use 1 to {PROCESSES_MAX}")
        if self.processes > 1 and self.store is None and not self.own_postgres:
            raise ConfigError(
                "several processes need a database that they can share: name a PostgreSQL with"
                " --store postgresql://USER@HOST/DATABASE; SQLite serves one"
            )
        *_, last = self.addresses
        if split_address(last)[1] > PORT_MAX:
            raise ConfigError(f"{last} has no port: each process needs the next one")

    def _check_address(self, address: str) -> None:
        host, port = split_address(address)
        if not (self.insecure or self.auth == AUTH_KEYS or is_loopback(host)):
            raise ConfigError(
                f"{address} can be reached from other machines and callers are not authenticated;"
                " listen on 127.0.0.1, ask for API keys with --auth keys, or pass --insecure if the"
                " network is trusted"
            )
        if not 0 <= port <= PORT_MAX:
            raise ConfigError(f"{port} is not a port: use 0 to 65535")


def read_config(
    environment: Mapping[str, str],
    *,
    data: Path | None = None,
    store: str | None = None,
    schema: str | None = None,
    grpc: str | None = None,
    http: str | None = None,
    envoy: Path | None = None,
    insecure: bool = False,
    auth: str | None = None,
    log_level: str | None = None,
    grace_seconds: float | None = None,
    processes: int | None = None,
    default_log_level: str = DEFAULT_LOG_LEVEL,
    default_http: str | None = None,
    may_own_postgres: bool = False,
) -> Config:
    """Returns the configuration: arguments before environment before defaults; or ConfigError.

    Without `default_http` no Envoy is started, whatever the environment says, and without
    `may_own_postgres` no PostgreSQL.
    """
    store = store or environment.get("PERDURE_STORE") or None
    own_postgres = may_own_postgres and store == OWN_POSTGRES
    if default_http is not None:
        http = http or environment.get("PERDURE_HTTP") or default_http
    if program := environment.get("PERDURE_ENVOY"):
        envoy = envoy or Path(program)
    if grace_seconds is None:
        grace_seconds = _seconds(environment, "PERDURE_GRACE_SECONDS", DEFAULT_GRACE_SECONDS)
    return Config(
        data=data or Path(environment.get("PERDURE_DATA") or DEFAULT_DATA),
        store=None if own_postgres else store,
        own_postgres=own_postgres,
        schema=schema or environment.get("PERDURE_SCHEMA") or DEFAULT_SCHEMA,
        grpc=grpc or environment.get("PERDURE_GRPC") or DEFAULT_GRPC,
        http=http,
        envoy=envoy,
        insecure=insecure or _flag(environment, "PERDURE_INSECURE"),
        auth=auth or environment.get("PERDURE_AUTH") or AUTH_NONE,
        log_level=log_level or environment.get("PERDURE_LOG_LEVEL") or default_log_level,
        grace_seconds=grace_seconds,
        processes=_count(environment, "PERDURE_PROCESSES") if processes is None else processes,
    )


def without_password(url: str) -> str:
    """Returns a URL as it may be shown."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}@" if parts.username else ""
    return f"{parts.scheme}://{user}{host}{parts.path}"


def _check_store(url: str) -> None:
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in POSTGRES_SCHEMES:
        # The text must not repeat it: it may hold a password.
        raise ConfigError(
            "the store is not one that is known: use postgresql://USER:PASSWORD@HOST:PORT/DATABASE,"
            " or name none for SQLite in the data folder"
        )


def is_loopback(host: str) -> bool:
    """Tells whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_address(address: str) -> tuple[str, int]:
    """Returns host and port of HOST:PORT or [HOST]:PORT; raises ConfigError."""
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdecimal():
        raise ConfigError(
            f"{address!r} is not an address: use HOST:PORT, for example 127.0.0.1:7766"
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def _flag(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name, "").lower()
    if text not in ("", "0", "1", "false", "true"):
        raise ConfigError(f"{name} is {text!r}: use true or false")
    return text in ("1", "true")


def _count(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name) or "1"
    if not text.isdecimal():
        raise ConfigError(f"{name} is {text!r}: use a whole number")
    return int(text)


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name) or str(default)
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{name} is {text!r}: use a number of seconds") from None
