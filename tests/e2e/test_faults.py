"""Faults from outside, against real processes: the disk, other programs, callers and bad input."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from contextlib import asynccontextmanager, closing

import pytest

from perdure import Client, RetryPolicy, Worker, activity, workflow
from perdure.errors import WorkflowFailedError
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from tests.api.calls import Caller, Refused
from tests.api.streams import Session
from tests.e2e.processes import PATIENCE_SECONDS, perdure
from tests.support.processes import ServerProcess

BIG = b'"' + b"x" * (2 * 1024 * 1024) + b'"'
ONCE = RetryPolicy(max_attempts=1)
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@activity
async def double(number: int) -> int:
    return 2 * number


@activity(retry=ONCE)
async def exits() -> None:
    raise SystemExit(3)


@activity(retry=ONCE)
async def interrupts() -> None:
    raise KeyboardInterrupt


@activity(retry=ONCE)
async def returns_what_no_one_can_encode() -> object:
    return object()


@workflow
async def doubling(number: int) -> int:
    return await double(await double(number))


@workflow
async def suffering(name: str) -> str:
    try:
        await {"exit": exits, "interrupt": interrupts, "encode": returns_what_no_one_can_encode}[
            name
        ]()
    except Exception as error:  # noqa: BLE001 - whatever arrives is the answer
        return type(error).__name__
    return "nothing"


@workflow
async def returning_too_much() -> str:
    return "x" * (3 * 1024 * 1024)


@pytest.fixture
def server(tmp_path):
    server = ServerProcess(tmp_path / "data")
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def caller(server):
    caller = Caller(server.address)
    yield caller
    await caller.close()


@asynccontextmanager
async def at_work(server):
    everything = [doubling, suffering, returning_too_much]
    steps = [double, exits, interrupts, returns_what_no_one_can_encode]
    async with (
        Client.connect(server.address) as client,
        Worker(client, "faults", everything, steps),
    ):
        yield client


def start(workflow_id="w", **fields):
    defaults = {"workflow_id": workflow_id, "workflow_type": "none", "task_queue": "nobody"}
    return pb.StartWorkflowRequest(**(defaults | fields))


async def begin(caller, request):
    return await caller.call("WorkflowService/StartWorkflow", request)


async def until_there(caller, workflow_id):
    """Waits until a workflow was started."""
    request = pb.GetWorkflowRequest(workflow_id=workflow_id)
    while True:
        try:
            return await caller.call("WorkflowService/GetWorkflow", request)
        except Refused as refusal:
            if refusal.code != "NOT_FOUND":
                raise
            await asyncio.sleep(0.02)


async def refused_starts(caller, count):
    """Starts workflows while the store is broken; returns how each was refused."""
    calls = (begin(caller, start(f"refused-{number}")) for number in range(count))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    return [(error.code, error.reason) for error in answers if isinstance(error, Refused)]


async def finish_what_was_begun(client, server):
    """A live worker ends what was accepted before, and no refused start is there."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for number in range(20):
            assert await client.get_handle(f"d-{number}").result() == 4 * number
    with closing(sqlite3.connect(server.database)) as database:
        (count,) = database.execute(
            "SELECT count(*) FROM runs WHERE workflow_id LIKE 'refused%'"
        ).fetchone()
    assert count == 0


@pytest.fixture
def database(tmp_path, server):
    server.database = tmp_path / "data" / "perdure.db"
    return server.database


async def test_a_locked_database_is_told_and_passes(server, caller, database):
    async with at_work(server) as client:
        for number in range(10):
            await client.start(doubling, number, id=f"d-{number}", task_queue="faults")
        with closing(sqlite3.connect(database, isolation_level=None, timeout=5)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert set(await refused_starts(caller, 5)) == {("UNAVAILABLE", "STORE_UNAVAILABLE")}
            other.execute("ROLLBACK")
        for number in range(10, 20):
            await client.start(doubling, number, id=f"d-{number}", task_queue="faults")
        await finish_what_was_begun(client, server)


async def test_a_full_disk_is_told_and_passes(server, caller, database):
    async with at_work(server) as client:
        for number in range(10):
            await client.start(doubling, number, id=f"d-{number}", task_queue="faults")
        wal = database.with_name(database.name + "-wal")
        size = max(wal.stat().st_size, 1)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        assert set(await refused_starts(caller, 5)) == {("UNAVAILABLE", "STORE_UNAVAILABLE")}
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, UNLIMITED)
        for number in range(10, 20):
            await client.start(doubling, number, id=f"d-{number}", task_queue="faults")
        await finish_what_was_begun(client, server)


def test_a_second_server_on_the_file_says_why(server, tmp_path):
    second = perdure("server", "--data", str(tmp_path / "data"), "--grpc", "127.0.0.1:0")
    assert second.returncode == 1
    assert "in use by another server" in second.stderr
    assert server.is_running


async def test_callers_that_leave_in_the_middle_take_no_task_along(server, caller):
    poll = worker.PollWorkflowTaskRequest(
        task_queue="nobody", worker_id="leaver", wait={"seconds": 60}
    )
    wait = {"seconds": 60}
    execute = pb.ExecuteWorkflowRequest(start=start("other", task_queue="elsewhere"), wait=wait)
    leaving = [
        asyncio.create_task(caller.call("WorkerService/PollWorkflowTask", poll)),
        asyncio.create_task(caller.call("WorkflowService/ExecuteWorkflow", execute)),
    ]
    session = Session(caller)
    session.ask(1, execute=pb.ExecuteWorkflowRequest(start=start("w")))
    # The leaver gets the task of the session's workflow, or leaves before: both must end well.
    for workflow_id in ("w", "other"):
        await until_there(caller, workflow_id)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    await session.close()
    again = worker.PollWorkflowTaskRequest(
        task_queue="elsewhere", worker_id="stayer", wait={"seconds": 10}
    )
    answer = await caller.call("WorkerService/PollWorkflowTask", again)
    assert answer.task.workflow_id == "other"
    assert answer.task.attempt == 1


async def test_malformed_commands_are_all_or_nothing(caller):
    await begin(caller, start())
    poll = worker.PollWorkflowTaskRequest(task_queue="nobody", worker_id="me", wait={"seconds": 10})
    task = (await caller.call("WorkerService/PollWorkflowTask", poll)).task
    good = Command(schedule_activity={"seq": 1, "name": "a"})
    bad = Command(schedule_timer={"seq": 1, "duration": {"seconds": -1}})
    complete = worker.CompleteWorkflowTaskRequest(task_token=task.task_token, commands=[good, bad])
    with pytest.raises(Refused) as refusal:
        await caller.call("WorkerService/CompleteWorkflowTask", complete)
    assert (refusal.value.code, refusal.value.reason) == ("INVALID_ARGUMENT", "INVALID_COMMAND")
    assert "duration" in refusal.value.text
    request = pb.GetWorkflowHistoryRequest(workflow_id="w")
    answer = await caller.call("WorkflowService/GetWorkflowHistory", request)
    assert [event.WhichOneof("event") for event in answer.history.events] == ["workflow_started"]
    del complete.commands[1]
    await caller.call("WorkerService/CompleteWorkflowTask", complete)


async def test_an_unregistered_type_waits_and_says_why(server, caller):
    async with at_work(server):
        await begin(caller, start(workflow_type="unheard", task_queue="faults"))
        answer = await caller.call(
            "WorkflowService/GetWorkflow", pb.GetWorkflowRequest(workflow_id="w")
        )
    assert "'unheard'" in answer.pending_workflow_task.waiting_reason


@pytest.mark.parametrize("name", ["exit", "interrupt", "encode"])
async def test_whatever_an_activity_raises_is_a_failure_of_it(server, name):
    async with at_work(server) as client, asyncio.timeout(PATIENCE_SECONDS):
        handle = await client.start(suffering, name, id=name, task_queue="faults")
        assert await handle.result() == "ActivityError"
        # The worker is as good as before.
        assert await client.execute(doubling, 3, id="after", task_queue="faults") == 12


async def test_a_payload_over_the_limit_is_refused_everywhere(caller):
    await begin(caller, start())
    big = {"data": BIG}
    signal = pb.SignalWorkflowRequest(workflow_id="w", signal_name="s", payload=big)
    for method, request in (
        ("StartWorkflow", start("big", input=big)),
        ("ExecuteWorkflow", pb.ExecuteWorkflowRequest(start=start("big", input=big))),
        ("SignalWorkflow", signal),
    ):
        with pytest.raises(Refused) as refusal:
            await caller.call(f"WorkflowService/{method}", request)
        assert (refusal.value.code, refusal.value.reason) == (
            "INVALID_ARGUMENT",
            "PAYLOAD_TOO_LARGE",
        )


async def test_a_workflow_that_returns_too_much_does_not_hang(server):
    async with at_work(server) as client, asyncio.timeout(PATIENCE_SECONDS):
        handle = await client.start(returning_too_much, id="much", task_queue="faults")
        with pytest.raises(WorkflowFailedError):
            await handle.result()
