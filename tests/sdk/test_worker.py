"""What a worker does with tasks, against a real server."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from perdure import (
    ActivityError,
    Client,
    RetryPolicy,
    Worker,
    WorkflowCancelledError,
    WorkflowFailedError,
    activity,
    signal,
    workflow,
)
from perdure.errors import InvalidTaskTokenError

ONCE = RetryPolicy(max_attempts=1)
AT_ONCE = RetryPolicy(initial_interval=timedelta(milliseconds=1), max_attempts=3)

go_on = signal("go on")


def activities_of(run):  # noqa: C901 -- a list of small functions
    """Makes activities that share a place to note what they saw."""

    @activity(retry=ONCE)
    async def raises(name: str) -> None:
        raise {
            "value": ValueError("bad value"),
            "exit": SystemExit(3),
            "interrupt": KeyboardInterrupt("stop"),
            "generator": GeneratorExit("left"),
            "cancelled": asyncio.CancelledError("by itself"),
        }[name]

    @activity(retry=ONCE)
    def raises_in_thread(name: str) -> None:
        raise {"value": ValueError("bad value"), "exit": SystemExit(3)}[name]

    @activity(retry=RetryPolicy(max_attempts=5))
    async def gives_what_cannot_be_encoded() -> object:
        run["attempts"] = run.get("attempts", 0) + 1
        return threading.Lock()

    @activity
    def thread_name() -> str:
        return threading.current_thread().name

    @activity(heartbeat=timedelta(minutes=1))
    async def waits_to_be_cancelled() -> str:
        run["started"].set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            run["cancelled"].set()
            raise
        return "never"

    @activity
    def looks_for_cancellation() -> str:
        run["loop"].call_soon_threadsafe(run["started"].set)
        while not activity.is_cancelled():
            run["pause"].wait(0.001)
        run["loop"].call_soon_threadsafe(run["cancelled"].set)
        return "stopped"

    @activity(retry=AT_ONCE)
    async def beats_then_fails() -> str:
        seen = activity.heartbeat_details(dict)
        if seen is not None:
            return f"attempt {activity.info().attempt} goes on at {seen['at']}"
        for at in range(100):
            activity.heartbeat({"at": at})
        raise ValueError("again")

    @activity
    async def detaches() -> str:
        run["token"].set_result(activity.info().task_token)
        activity.detach()

    @activity
    async def waits_for_the_test() -> str:
        run["started"].set()
        await run["go on"].wait()
        return "done"

    return {
        definition.name: definition
        for definition in (
            raises,
            raises_in_thread,
            gives_what_cannot_be_encoded,
            thread_name,
            waits_to_be_cancelled,
            looks_for_cancellation,
            beats_then_fails,
            detaches,
            waits_for_the_test,
        )
    }


@pytest.fixture
async def seen():
    return {
        "loop": asyncio.get_running_loop(),
        "started": asyncio.Event(),
        "cancelled": asyncio.Event(),
        "go on": asyncio.Event(),
        "token": asyncio.get_running_loop().create_future(),
        "pause": threading.Event(),
    }


@pytest.fixture
def activities(seen):
    return activities_of(seen)


@pytest.fixture
def serve(client, activities):
    """Runs a worker for workflows, and gives the activities to it."""

    @asynccontextmanager
    async def serve(*workflows, **settings):
        async with Worker(
            client, "work", workflows, list(activities.values()), **settings
        ) as worker:
            yield worker

    return serve


def calling(definition, *value):
    @workflow(name="calling", task_queue="work")
    async def calling() -> str | None:
        return await definition(*value)

    return calling


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("value", "ValueError"),
        ("exit", "SystemExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("generator", "GeneratorExit"),
        ("cancelled", "CancelledError"),
    ],
)
async def test_whatever_an_activity_raises_is_its_failure(client, serve, activities, name, type_):
    call = calling(activities["raises"], name)
    async with serve(call):
        with pytest.raises(WorkflowFailedError) as caught:
            await client.execute(call)
        assert caught.value.__cause__.__cause__.type == type_
        # The worker goes on.
        name = calling(activities["thread_name"])
    async with serve(name):
        assert (await client.execute(name)).startswith("perdure-activity")


@pytest.mark.parametrize(("name", "type_"), [("value", "ValueError"), ("exit", "SystemExit")])
async def test_whatever_a_sync_activity_raises_is_its_failure(
    client, serve, activities, name, type_
):
    call = calling(activities["raises_in_thread"], name)
    async with serve(call):
        with pytest.raises(WorkflowFailedError) as caught:
            await client.execute(call)
    assert caught.value.__cause__.__cause__.type == type_


async def test_a_result_that_cannot_be_encoded_fails_for_good(client, serve, activities, seen):
    call = calling(activities["gives_what_cannot_be_encoded"])
    async with serve(call):
        with pytest.raises(WorkflowFailedError) as caught:
            await client.execute(call)
    assert "cannot encode lock" in str(caught.value.__cause__.__cause__)
    assert seen["attempts"] == 1


@pytest.mark.parametrize("name", ["waits_to_be_cancelled", "looks_for_cancellation"])
async def test_cancellation_reaches_a_running_activity(client, serve, activities, seen, name):
    call = calling(activities[name])
    async with serve(call):
        handle = await client.start(call)
        await seen["started"].wait()
        await handle.cancel("changed my mind")
        with pytest.raises(WorkflowCancelledError):
            await handle.result()
        await seen["cancelled"].wait()


async def test_heartbeat_details_reach_the_next_attempt(client, serve, activities):
    call = calling(activities["beats_then_fails"])
    async with serve(call):
        assert await client.execute(call) == "attempt 2 goes on at 99"


async def test_an_activity_is_completed_by_its_token(client, serve, activities, seen):
    call = calling(activities["detaches"])
    async with serve(call):
        handle = await client.start(call)
        token = await seen["token"]
        assert await client.heartbeat_activity(token, {"half": True}) is False
        await client.complete_activity(token, "from outside")
        assert await handle.result() == "from outside"
        with pytest.raises(InvalidTaskTokenError):
            await client.complete_activity("no token", "from outside")


async def test_an_activity_is_failed_by_its_token(client, serve, activities, seen):
    @workflow(task_queue="work")
    async def call() -> str:
        try:
            return await activities["detaches"].options(retry=ONCE)()
        except ActivityError as error:
            return str(error)

    async with serve(call):
        handle = await client.start(call)
        await client.fail_activity(await seen["token"], OSError("no paper"))
        assert "no paper" in await handle.result()


async def test_leaving_waits_for_running_work(client, serve, activities, seen):
    call = calling(activities["waits_for_the_test"])
    async with asyncio.TaskGroup() as group:
        async with serve(call):
            handle = await client.start(call)
            await seen["started"].wait()
            asyncio.get_running_loop().call_later(0.05, seen["go on"].set)
        # The worker has left, and the result was reported before it did.
        kinds = [event.WhichOneof("event") for event in (await handle.history()).events]
        assert "activity_completed" in kinds
        async with serve(call):
            group.create_task(handle.result())


async def test_work_that_outlasts_the_drain_is_given_back(client, serve, activities, seen):
    retried = activities["waits_for_the_test"].options(retry=AT_ONCE)
    call = calling(retried)
    async with serve(call, drain_timeout=timedelta(0)):
        handle = await client.start(call)
        await seen["started"].wait()
    seen["go on"].set()
    async with serve(call):
        assert await handle.result() == "done"
    completed = (await handle.history()).events[-2].activity_completed
    assert completed.attempt == 2


async def test_a_full_cache_costs_replays_and_nothing_else(client, serve):
    @workflow(task_queue="work")
    async def two_signals(number: int) -> int:
        await go_on.wait()
        await go_on.wait()
        return number

    async with serve(two_signals, max_cached_runs=1):
        handles = [await client.start(two_signals, number) for number in range(5)]
        for _ in range(2):
            for handle in handles:
                await handle.signal(go_on, None)
        assert [await handle.result() for handle in handles] == list(range(5))


async def test_a_history_too_long_for_its_task_is_fetched_page_by_page(client, serve):
    @activity
    async def large(number: int) -> str:
        return str(number) * 700_000

    @workflow(task_queue="work")
    async def collects() -> list[str]:
        return [(await large(number))[0] for number in range(6)]

    async with (
        serve(collects, max_cached_runs=0),
        Worker(client, "work", activities=[large]),
    ):
        assert await client.execute(collects) == list("012345")


async def test_code_that_never_waits_is_left_and_others_go_on(client, serve):
    release = threading.Event()
    attempts = []

    @workflow(task_queue="work")
    async def loops() -> int:
        attempts.append(1)
        while not release.is_set():
            pass
        return len(attempts)

    @workflow(task_queue="work")
    async def quick() -> str:
        return "quick"

    async with serve(loops, quick, workflow_task_timeout=timedelta(milliseconds=100)):
        looping = await client.start(loops)
        while not attempts:
            await looping.describe()
        assert await client.execute(quick) == "quick"
        failure = await last_task_failure(client, looping)
        assert failure.type == "WorkflowTaskTimeout"
        assert "in loops" in failure.stack_trace
        # Not before: who comes late would find no failure of a run that has gone on.
        release.set()
        assert await looping.result() > 1


async def test_a_changed_workflow_fails_its_task_not_the_run(client, serve):
    @workflow(name="changing", task_queue="work")
    async def before() -> str:
        await go_on.wait()
        return "before"

    @workflow(name="changing", task_queue="work")
    async def after() -> str:
        await asyncio.sleep(60)
        return "after"

    async with serve(before):
        handle = await client.start(before)
        await waiting_for_signal(handle)
    async with serve(after):
        await handle.signal(go_on, None)
        failure = await last_task_failure(client, handle)
        assert failure.type == "DeterminismError"
        assert "test_worker.py" in failure.message
    async with serve(before):
        assert await handle.result() == "before"


async def test_definitions_are_checked_where_the_worker_is_written(client):
    async def plain() -> None: ...

    with pytest.raises(TypeError, match="not decorated"):
        Worker(client, "work", [plain])


async def test_leaving_does_not_wait_for_a_server_that_is_away(unused_tcp_port, activities):
    async with (
        asyncio.timeout(5),
        Client.connect(f"127.0.0.1:{unused_tcp_port}") as client,
        Worker(client, "work", [], list(activities.values()), drain_timeout=timedelta(hours=1)),
    ):
        pass


async def test_run_works_until_it_is_cancelled(client, activities):
    call = calling(activities["thread_name"])
    worker = Worker(client, "work", [call], list(activities.values()))
    running = asyncio.create_task(worker.run())
    assert await client.execute(call)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def waiting_for_signal(handle):
    async for event in handle.watch():
        if event.HasField("workflow_awaiting_signal"):
            return


async def last_task_failure(client, handle):
    """Asks until the failure of a workflow task was recorded."""
    from perdure.v1.workflow_service_pb2 import GetWorkflowRequest, GetWorkflowResponse

    request = GetWorkflowRequest(workflow_id=handle.workflow_id)
    while True:
        answer = await client.connection.unary(
            "WorkflowService/GetWorkflow", request, GetWorkflowResponse
        )
        if answer.pending_workflow_task.HasField("last_failure"):
            return answer.pending_workflow_task.last_failure


async def test_code_that_is_left_is_ended_inside_of_its_workflow(client, serve):
    ended, helping = [], []

    @activity
    async def refund() -> None:
        ended.append("the activity ran outside of a workflow")

    @workflow(task_queue="work")
    async def loops() -> str:
        async def helps() -> None:
            try:
                await go_on.wait()
            finally:
                ended.append(workflow.info().run_id)
                await refund()

        if ended:
            return "ended"
        helping.append(asyncio.create_task(helps()))
        await asyncio.sleep(0)
        while True:
            pass

    async with serve(loops, workflow_task_timeout=timedelta(milliseconds=100)):
        handle = await client.start(loops)
        assert await handle.result() == "ended"
    # Where a machine is slow, more than one was left.
    assert set(ended) == {handle.run_id}


async def test_a_worker_that_leaves_ends_a_thread_that_never_waits(client, serve):
    computing, ended = threading.Event(), threading.Event()

    @workflow(task_queue="work")
    async def loops() -> None:
        computing.set()
        try:
            while True:
                pass
        finally:
            ended.set()

    async with serve(loops, drain_timeout=timedelta(0)):
        await client.start(loops)
        await asyncio.to_thread(computing.wait)
    assert await asyncio.to_thread(ended.wait, 10)


async def test_leaving_in_a_hurry_ends_the_worker_too(client, activities, seen):
    call = calling(activities["waits_to_be_cancelled"])
    worker = Worker(client, "work", [call], list(activities.values()))
    running = asyncio.create_task(worker.run())
    await client.start(call)
    await seen["started"].wait()
    running.cancel()
    while not worker.shift._link._draining:  # noqa: ASYNC110
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await seen["cancelled"].wait()


async def test_a_start_goes_where_the_worker_of_the_client_is(client):
    @workflow
    async def checkout(order: str) -> str:
        return order

    async with Worker(client, "shop", [checkout]):
        handle = await client.start(checkout, "o", id="o-1")
        assert await handle.result() == "o"
        assert (await handle.describe()).task_queue == "shop"
        # Two queues leave it open which one is meant.
        Worker(client, "other", [checkout])
        handle = await client.start(checkout, "o", id="o-2")
        assert (await handle.describe()).task_queue == "default"
