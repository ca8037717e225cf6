"""`perdure store copy`: a database moves to the other backend and back, and goes on."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import aclosing, asynccontextmanager, closing

import pytest

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import namespace_service_pb2 as namespaces
from perdure.v1 import watch_service_pb2 as watch
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as workflows
from perdure.v1.command_pb2 import Command
from perdure.v1.workflow_pb2 import WorkflowStatus
from perdure_server.app import DatabaseClock, SystemClock, SystemIds, rpcs_of_engine, running_engine
from perdure_server.core.errors import CursorExpired
from perdure_server.embedded import EmbeddedServer
from perdure_server.store.offline import BATCH_ROWS
from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.sqlite.store import SqliteStore

TABLES = {
    "activities",
    "api_keys",
    "children",
    "events",
    "inbox",
    "namespaces",
    "requests",
    "runs",
    "search_attributes",
    "schedules",
    "snapshots",
    "tasks",
    "timers",
    "updates",
    "workers",
}
LINE = re.compile(r"^(\w+) +(\d+)  sha256 ([0-9a-f]{64})$", re.MULTILINE)
MORE = BATCH_ROWS + 1
FOUND_BY = {"values": {"team": {"keyword": "a"}}}
ASKED = {
    "request_id": "r",
    "run_timeout": {"seconds": 3600},
    "search_attributes": FOUND_BY,
}


@asynccontextmanager
async def served(store):
    """Serves a store within the test, as a server does whose workers come back."""
    clock = DatabaseClock() if isinstance(store, PostgresStore) else SystemClock()
    async with running_engine(store, clock, SystemIds()) as engine:
        rpcs = rpcs_of_engine(engine)
        yield Calls(
            EmbeddedServer({f"{rpc.service.rpartition('.')[2]}/{rpc.name}": rpc for rpc in rpcs})
        )
        await engine.drain()


class Calls:
    def __init__(self, server):
        self._server = server

    async def start(self, workflow_id, **fields):
        request = workflows.StartWorkflowRequest(
            workflow_id=workflow_id, workflow_type="t", task_queue="q", **fields
        )
        return await self._server.call("WorkflowService/StartWorkflow", request)

    async def status(self, workflow_id):
        request = workflows.GetWorkflowRequest(workflow_id=workflow_id)
        answer = await self._server.call("WorkflowService/GetWorkflow", request)
        return WorkflowStatus.Name(answer.workflow.status)

    async def terminate(self, workflow_id):
        request = workflows.TerminateWorkflowRequest(workflow_id=workflow_id)
        await self._server.call("WorkflowService/TerminateWorkflow", request)

    async def register(self):
        request = worker.RegisterRequest(identity="poller", task_queue="other")
        return (await self._server.call("WorkerService/Register", request)).worker_id

    async def heartbeat(self, worker_id):
        request = worker.HeartbeatRequest(worker_id=worker_id)
        await self._server.call("WorkerService/Heartbeat", request)

    async def take_workflow_task(self):
        request = worker.PollWorkflowTaskRequest(
            task_queue="q", worker_id="poller", wait={"seconds": 20}
        )
        return (await self._server.call("WorkerService/PollWorkflowTask", request)).task

    async def take_activity(self):
        request = worker.PollActivityTaskRequest(
            task_queue="q", worker_id="poller", wait={"seconds": 20}
        )
        return (await self._server.call("WorkerService/PollActivityTask", request)).task

    async def command(self, token, **commands):
        request = worker.CompleteWorkflowTaskRequest(task_token=token)
        request.commands.append(Command(**commands))
        await self._server.call("WorkerService/CompleteWorkflowTask", request)

    async def complete_activity(self, token):
        request = worker.CompleteActivityRequest(task_token=token, result={"data": b"done"})
        await self._server.call("WorkerService/CompleteActivity", request)

    async def create(self, name):
        request = namespaces.CreateNamespaceRequest(name=name)
        await self._server.call("NamespaceService/CreateNamespace", request)
        request = admin.CreateApiKeyRequest(label=name)
        await self._server.call("AdminService/CreateApiKey", request)

    async def labels(self):
        answer = await self._server.call("AdminService/ListApiKeys", admin.ListApiKeysRequest())
        return [key.label for key in answer.api_keys]

    async def cursor(self, after=""):
        async with self._watching(after) as answers:
            return (await anext(answers)).cursor

    async def first_after(self, cursor):
        """Returns the workflow of the first event after a cursor."""
        async with self._watching(cursor) as answers:
            await anext(answers)
            return (await anext(answers)).workflow_id

    def _watching(self, after):
        async def one():
            yield watch.WatchRequest(after=after)

        return aclosing(self._server.stream("WatchService/Watch", one()))


async def fill(store):
    """Leaves a bit of everything behind: who holds what, and where a watch stands."""
    async with served(store) as calls:
        await calls.create("other")
        worker_id = await calls.register()
        first = await calls.start("w", **ASKED)
        task = await calls.take_workflow_task()
        activity = {"seq": 1, "name": "a", "options": {"start_to_close_timeout": {"seconds": 600}}}
        await calls.command(task.task_token, schedule_activity=activity)
        held = await calls.take_activity()
        await calls.start("closed")
        await calls.terminate("closed")
        await calls.start("waiting")
        waiting = await calls.take_workflow_task()
        for number in range(MORE):
            await calls.start(f"many-{number}")
        return first.run_id, worker_id, held.task_token, waiting.task_token, await calls.cursor()


def copy(command, source, target, *options):
    """Copies and returns count and digest of each table."""
    done = command("store", "copy", str(source), str(target), *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert "read it back and found it equal" in done.stdout
    return {name: (int(count), digest) for name, count, digest in LINE.findall(done.stdout)}


def test_a_database_moves_to_postgres_and_back(tmp_path, schemas, command):
    old, back, schema = tmp_path / "old", tmp_path / "back.db", schemas.new()
    old.mkdir()
    run_id, worker_id, activity, waiting, cursor = asyncio.run(
        fill(SqliteStore(old / "perdure.db"))
    )

    there = copy(command, old, schemas.url, "--schema", schema)
    assert there.keys() == TABLES
    counts = {name: count for name, (count, _) in there.items()}
    assert counts["runs"] == MORE + 3
    assert counts["activities"] == counts["api_keys"] == 1
    assert counts["timers"] >= counts["workers"] == 1
    assert counts["search_attributes"] == 1
    assert counts["namespaces"] == 2
    # Without a server in between, what comes back is the same, digest by digest.
    assert copy(command, schemas.url, f"sqlite:{back}", "--schema", schema) == there

    async def go_on(store, workflow_id):
        async with served(store) as calls:
            assert (await calls.start("w", **ASKED)).run_id == run_id
            assert await calls.labels() == ["other"]
            await calls.heartbeat(worker_id)
            assert await calls.status("closed") == "WORKFLOW_STATUS_TERMINATED"
            with pytest.raises(CursorExpired):
                await calls.cursor(cursor)
            await calls.complete_activity(activity)
            await calls.command(waiting, complete_workflow={})
            assert await calls.status("waiting") == "WORKFLOW_STATUS_COMPLETED"
            before = await calls.cursor()
            await calls.start(workflow_id)
            assert await calls.first_after(before) == workflow_id

    asyncio.run(go_on(PostgresStore(schemas.url, schema=schema), "new"))
    asyncio.run(go_on(SqliteStore(back), "new"))
    again = copy(command, schemas.url, tmp_path / "again", "--schema", schema)
    assert again["runs"][0] == MORE + 4

    async def look(store):
        async with served(store) as calls:
            # The report that was accepted last, sent again, is answered as the first time.
            await calls.command(waiting, complete_workflow={})
            assert await calls.status("new") == "WORKFLOW_STATUS_PENDING"

    asyncio.run(look(SqliteStore(tmp_path / "again" / "perdure.db")))


def test_what_is_not_empty_is_not_written(tmp_path, schemas, command):
    old, schema = tmp_path / "old.db", schemas.new()
    asyncio.run(opened(SqliteStore(old), namespace="one"))
    store = PostgresStore(schemas.url, schema=schema)
    asyncio.run(opened(store, namespace="two"))
    for source, target in ((f"sqlite:{old}", schemas.url), (schemas.url, f"sqlite:{old}")):
        refused = command("store", "copy", source, target, "--schema", schema)
        assert refused.returncode == 1
        assert "is not empty: it has namespaces" in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_what_a_server_uses_is_not_copied(tmp_path, schemas, command):
    old, schema = tmp_path / "old.db", schemas.new()

    async def while_served():
        postgres = PostgresStore(schemas.url, schema=schema)
        async with served(SqliteStore(old)), served(postgres):
            both = ((f"sqlite:{old}", schemas.url), (schemas.url, f"sqlite:{tmp_path / 'new.db'}"))
            return [
                await asyncio.to_thread(command, "store", "copy", *pair, "--schema", schema)
                for pair in both
            ]

    for refused in asyncio.run(while_served()):
        assert refused.returncode == 1
        assert "in use by" in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_nothing_is_copied_to_itself(tmp_path, schemas, command):
    old, schema = tmp_path / "old.db", schemas.new()
    asyncio.run(opened(SqliteStore(old), namespace="one"))
    asyncio.run(opened(PostgresStore(schemas.url, schema=schema), namespace="one"))
    for place in (f"sqlite:{old}", schemas.url):
        refused = command("store", "copy", place, place, "--schema", schema)
        assert refused.returncode == 1
        assert "in use by another server" in refused.stderr or "copied" in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_an_older_schema_is_migrated_first(tmp_path, command):
    old, new = f"sqlite:{tmp_path / 'perdure.db'}", f"sqlite:{tmp_path / 'new.db'}"
    command("db", "migrate", "--data", str(tmp_path))
    with closing(sqlite3.connect(tmp_path / "perdure.db")) as connection:
        connection.execute("DELETE FROM schema WHERE version = (SELECT max(version) FROM schema)")
        connection.commit()
    refused = command("store", "copy", old, new)
    assert refused.returncode == 1
    assert "perdure db migrate" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_copy_that_fails_leaves_nothing(tmp_path, schemas, command):
    old, schema = tmp_path / "old.db", schemas.new()
    asyncio.run(opened(SqliteStore(old), namespace="one"))
    with closing(sqlite3.connect(old)) as connection:
        # PostgreSQL holds no such character; the server lets none in.
        connection.execute("UPDATE namespaces SET name = 'a' || char(0) WHERE name = 'one'")
        connection.commit()
    failed = command("store", "copy", f"sqlite:{old}", schemas.url, "--schema", schema)
    assert failed.returncode == 1
    assert "cannot be used" in failed.stderr

    async def names():
        store = PostgresStore(schemas.url, schema=schema)
        await store.open()
        found = await store.list_namespaces(after="", limit=10)
        await store.close()
        return [namespace.name for namespace in found]

    assert asyncio.run(names()) == ["main"]


def test_what_is_not_there_or_unknown_is_told(tmp_path, command):
    for source, words in (
        (tmp_path / "none", "there is no database to copy in"),
        ("mysql://me:secret@there/db", "is no database that is known"),
    ):
        refused = command("store", "copy", str(source), f"sqlite:{tmp_path / 'new.db'}")
        assert refused.returncode == 1
        assert words in refused.stderr
        assert "secret" not in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "none").exists()


async def opened(store, *, namespace):
    async with served(store) as calls:
        await calls.create(namespace)
