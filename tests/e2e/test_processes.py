"""`--processes`: several servers on one PostgreSQL, and the parent that keeps them."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from pathlib import Path

import grpc
import psutil
import pytest

from perdure.v1 import workflow_service_pb2 as service
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from perdure_server.config import Config, read_config
from tests.e2e.processes import (
    ANY,
    PATIENCE_SECONDS,
    PERDURE,
    ServerProcess,
    eventually,
    has_ended,
)

GRPC = ("--grpc", "127.0.0.1:0")


class Family(ServerProcess):
    """A parent and its servers, perhaps with an Envoy among its children."""

    @property
    def addresses(self):
        return re.findall(r"127\.0\.0\.1:\d+", self.greeting.partition(" HTTP ")[0])

    def members(self):
        return psutil.Process(self._process.pid).children()

    def servers(self):
        """The processes of the servers by their addresses, those that listen."""
        return {
            f"127.0.0.1:{place.laddr.port}": member
            for member in self.members()
            for place in member.net_connections()
            if place.status == psutil.CONN_LISTEN and "perdure_server" in member.cmdline()
        }

    def envoy(self):
        return next(member for member in self.members() if "--config-path" in member.cmdline())


@pytest.fixture
def start(schemas):
    """Starts a family on a schema of its own; whatever still runs at the end is killed."""
    families = []
    store = ("--store", schemas.url, "--schema", schemas.new(), "--log-level", "warning")

    def start(*arguments):
        families.append(Family(*arguments, *store))
        return families[-1]

    yield start
    for family in families:
        family.kill()


def test_a_server_is_told_all_by_its_environment():
    config = Config(
        data=Path("somewhere"),
        store="postgresql://me:secret@there/db",
        schema="s",
        grpc="0.0.0.0:1",
        insecure=True,
        auth="keys",
        log_level="error",
        grace_seconds=1.5,
        processes=3,
    )
    assert read_config(config.as_environment()) == config
    assert config.addresses == ["0.0.0.0:1", "0.0.0.0:2", "0.0.0.0:3"]
    plain = Config(data=Path("d"))
    assert read_config(plain.as_environment()) == plain


def start_workflow(address, workflow_id):
    request = service.StartWorkflowRequest(
        namespace="main", workflow_id=workflow_id, workflow_type="t"
    )
    with grpc.insecure_channel(address) as channel:
        WorkflowServiceStub(channel).StartWorkflow(request)


def workflow_ids(address):
    with grpc.insecure_channel(address) as channel:
        request = service.ListWorkflowsRequest(namespace="main")
        listed = WorkflowServiceStub(channel).ListWorkflows(
            request, wait_for_ready=True, timeout=PATIENCE_SECONDS
        )
    return [workflow.workflow_id for workflow in listed.workflows]


def test_they_share_a_database_and_one_that_dies_is_started_again(start):
    family = start("server", "--processes", "2", *GRPC)
    one, two = family.addresses
    servers = family.servers()
    assert servers.keys() == {one, two}
    assert "data in postgresql://" in family.greeting
    start_workflow(one, "w")

    servers[two].kill()
    eventually(lambda: has_ended(servers[two]))
    assert workflow_ids(two) == ["w"]

    members = family.members()
    family.tell(signal.SIGTERM)
    code, errors = family.wait()
    assert code == 0
    assert all(map(has_ended, members))
    assert f'"a server ended and is started again", "address": "{two}"' in errors
    assert f'"address": "{one}"' not in errors


@pytest.mark.skipif(not psutil.LINUX, reason="only Linux ends a child with its parent")
def test_envoy_knows_them_all_and_a_kill_of_the_parent_leaves_nothing(start):
    family = start("dev", "--processes", "2", *ANY)
    members = family.members()
    assert len(members) == 3
    (path,) = (Path(word) for word in family.envoy().cmdline() if word.endswith("envoy.json"))
    (cluster,) = json.loads(path.read_text())["static_resources"]["clusters"]
    (ends,) = cluster["load_assignment"]["endpoints"]
    places = [end["endpoint"]["address"]["socket_address"] for end in ends["lb_endpoints"]]
    assert [f"{place['address']}:{place['port_value']}" for place in places] == family.addresses
    family.kill()
    eventually(lambda: all(map(has_ended, members)))


def test_a_stop_while_they_start_ends_all():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = f"postgresql://perdure@127.0.0.1:{silent.getsockname()[1]}/perdure"
        arguments = ("server", "--processes", "2", "--store", store, *GRPC)
        with subprocess.Popen([PERDURE, *arguments], stdout=subprocess.PIPE) as parent:
            # The first waits for a word of its database, and the others for the first.
            with silent.accept()[0]:
                members = psutil.Process(parent.pid).children()
                parent.terminate()
            assert parent.communicate(timeout=PATIENCE_SECONDS)[0] == b""
    assert len(members) == 1
    assert parent.returncode == 0
    assert all(map(has_ended, members))


def test_a_taken_port_is_told_once_and_ends_all(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        family = start("server", "--processes", "2", "--grpc", address)
        assert family.greeting == ""
        code, errors = family.wait()
    assert code == 1
    assert errors == f"perdure: cannot listen on {address}: another program listens there\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--processes", "2"), "--store postgresql://"),
        (("--processes", "0"), "use 1 to"),
        (("--processes", "3", "--grpc", "127.0.0.1:65534"), "127.0.0.1:65536 has no port"),
    ],
)
def test_what_cannot_be_is_refused(command, arguments, words):
    store = ("--store", "postgresql://perdure@127.0.0.1:1/nothing") if len(arguments) > 2 else ()
    refused = command("server", *arguments, *store)
    assert refused.returncode == 1
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1
