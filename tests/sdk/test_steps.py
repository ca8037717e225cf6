"""Steps through a whole engine: what is run, how often, and what happens meanwhile."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest

from perdure import (
    ApplicationError,
    Client,
    Compression,
    RetryPolicy,
    StepError,
    Worker,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowTerminatedError,
    activity,
    query,
    signal,
    workflow,
)
from perdure._workflow_thread import Job
from perdure.converter import Converter
from perdure.testing import Environment
from perdure.v1.task_pb2 import WorkflowTask
from perdure.v1.worker_service_pb2 import KeptTask

go = signal("go", str)


class Gate:
    """A step that waits until the test lets it go, and tells what it did."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.calls = 0
        self.cancelled = asyncio.Event()

    async def __call__(self, value: str = "gate") -> str:
        self.calls += 1
        self.begun.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return value


gates: dict[str, Gate] = {}
calls: list[str] = []


@pytest.fixture
def gate(request):
    calls.clear()
    gates["now"] = Gate()
    return gates["now"]


def note(name: str) -> str:
    calls.append(name)
    return threading.current_thread().name


async def add(left: int, right: int) -> int:
    return left + right


@activity
async def charge(order: str) -> str:
    return f"charged {order}"


@workflow
async def adds(count: int) -> int:
    total = 0
    for _ in range(count):
        total = await workflow.step(add, total, 1)
    return total


@workflow
async def mixes(order: str) -> list[str]:
    thread = await workflow.step(note, "sync")
    coroutine = await workflow.step(lambda: add(1, 2))
    together = await asyncio.gather(
        charge(order), *(workflow.step(add, number, 1) for number in range(20))
    )
    async with asyncio.TaskGroup() as group:
        one = group.create_task(workflow.step(note, "one"))
        group.create_task(workflow.step(note, "two"))
    return [thread, str(coroutine), *map(str, together), one.result()]


def flaky(times: int) -> str:
    calls.append("flaky")
    if len(calls) < times:
        raise ValueError("not yet")
    return f"after {len(calls)}"


def refuses() -> None:
    calls.append("refuses")
    raise ApplicationError("never", non_retryable=True, details={"code": 7})


@workflow
async def retries(times: int) -> str:
    policy = RetryPolicy(max_attempts=5, initial_interval=timedelta(hours=1))
    return await workflow.step(flaky, times, retry=policy)


@workflow
async def fails_once(times: int) -> str:
    try:
        return await workflow.step(flaky, times)
    except StepError as error:
        return f"{error.step} {error.attempt} {error.type} {len(calls)}"


@workflow
async def fails_for_good() -> None:
    await workflow.step(refuses, retry=RetryPolicy(max_attempts=0))


@workflow
async def gated(order: str) -> str:
    return await workflow.step(gates["now"], order)


@workflow
async def gated_beside(order: str) -> str:
    """An activity and a signal are answered while a step runs."""
    step = asyncio.ensure_future(workflow.step(gates["now"], order))
    charged = await charge(order)
    said = await go.wait()
    return f"{charged} {said} {step.done()} {await step}"


@workflow
async def bounded(order: str) -> str:
    try:
        async with asyncio.timeout(3600):
            return await workflow.step(gates["now"], order)
    except TimeoutError:
        return "late " + await go.wait()


@workflow
async def undoes(order: str) -> str:
    await workflow.step(add, 1, 1)
    try:
        return await workflow.step(gates["now"], order)
    except asyncio.CancelledError:
        await workflow.step(note, "undone")
        raise


@workflow
class Counts:
    def __init__(self) -> None:
        self.count = 0

    @query
    def so_far(self) -> int:
        return self.count

    async def run(self) -> str:
        for _ in range(3):
            self.count = await workflow.step(add, self.count, 1)
        return await workflow.step(gates["now"], str(self.count))


@workflow
async def too_much() -> str:
    try:
        return await workflow.step(lambda: "x" * 3_000_000)
    except StepError as error:
        return error.type


ALL = [adds, mixes, retries, fails_once, fails_for_good, gated, gated_beside, bounded, undoes]


async def kinds(handle):
    return [event.WhichOneof("event") for event in (await handle.history()).events]


@pytest.mark.parametrize("cached", [1000, 0])
async def test_steps_run_one_after_another(cached):
    async with Environment(ALL, max_cached_runs=cached) as env:
        handle = await env.client.start(adds, 30)
        assert await handle.result() == 30
        assert (await kinds(handle)).count("step_completed") == 30


async def test_steps_of_all_kinds_run_beside_one_another(gate):
    async with Environment(ALL, [charge]) as env:
        result = await env.client.execute(mixes, "o-1")
    assert result[0].startswith("perdure-step")
    assert result[1:3] == ["3", "charged o-1"]
    assert result[3:23] == [str(number) for number in range(1, 21)]
    assert result[23].startswith("perdure-step")
    assert sorted(calls) == ["one", "sync", "two"]


async def test_a_failed_step_is_run_again_as_its_policy_says(gate):
    async with Environment(ALL) as env:
        assert await env.client.execute(retries, 3) == "after 3"


async def test_without_a_policy_it_is_run_once(gate):
    async with Environment(ALL) as env:
        assert await env.client.execute(fails_once, 3) == "flaky 1 ValueError 1"


async def test_what_is_not_to_be_tried_again_is_not(gate):
    async with Environment(ALL) as env:
        with pytest.raises(WorkflowFailedError) as caught:
            await env.client.execute(fails_for_good)
    failure = caught.value.__cause__
    assert failure.type == "StepError"
    assert failure.__cause__.details == {"code": 7}
    assert calls == ["refuses"]


async def test_attempts_are_bounded(gate):
    async with Environment(ALL) as env:
        with pytest.raises(WorkflowFailedError, match="attempt 5"):
            await env.client.execute(retries, 100)
    assert len(calls) == 5


async def test_what_happens_meanwhile_reaches_the_code(gate):
    async with Environment(ALL, [charge]) as env:
        handle = await env.client.start(gated_beside, "o-1")
        await gate.begun.wait()
        while "activity_completed" not in await kinds(handle):
            pass
        await handle.signal(go, "on")
        while "signal_received" not in await kinds(handle):
            pass
        gate.open.set()
        assert (await handle.result()).startswith("charged o-1 on ")


async def test_a_wait_that_is_given_up_leaves_the_step_alone(gate):
    async with Environment(ALL) as env:
        handle = await env.client.start(bounded, "o-1")
        await gate.begun.wait()
        while "timer_scheduled" not in await kinds(handle):
            pass
        await env.advance(timedelta(hours=2))
        while "workflow_awaiting_signal" not in await kinds(handle):
            pass
        assert not gate.cancelled.is_set()
        gate.open.set()
        while "step_completed" not in await kinds(handle):
            pass
        await handle.signal(go, "on")
        assert await handle.result() == "late on"


async def test_a_run_that_ends_cancels_its_steps(gate):
    async with Environment(ALL) as env:
        handle = await env.client.start(bounded, "o-1")
        await gate.begun.wait()
        while "timer_scheduled" not in await kinds(handle):
            pass
        await env.advance(timedelta(hours=2))
        await handle.signal(go, "on")
        assert await handle.result() == "late on"
        await gate.cancelled.wait()


async def test_a_cancellation_comes_while_a_step_runs(gate):
    async with Environment(ALL) as env:
        handle = await env.client.start(undoes, "o-1")
        await gate.begun.wait()
        await handle.cancel()
        with pytest.raises(WorkflowCancelledError):
            await handle.result()
        assert calls == ["undone"]


async def test_a_termination_cancels_the_step(gate):
    async with Environment(ALL, [charge]) as env:
        handle = await env.client.start(gated_beside, "o-1")
        await gate.begun.wait()
        while "activity_completed" not in await kinds(handle):
            pass
        await handle.terminate("enough")
        with pytest.raises(WorkflowTerminatedError):
            await handle.result()
        await gate.cancelled.wait()
        assert await env.client.execute(adds, 1) == 1


async def test_a_run_that_is_dropped_runs_the_unfinished_step_again(gate):
    async with Environment(ALL) as env:
        handle = await env.client.start(gated, "o-1")
        await gate.begun.wait()
        gate.begun.clear()
        await env.forget_runs()
        await gate.begun.wait()
        gate.open.set()
        assert await handle.result() == "o-1"
        assert gate.calls == 2
        assert (await kinds(handle)).count("step_completed") == 1


async def test_a_paused_run_goes_no_further(gate):
    async with Environment(ALL) as env:
        handle = await env.client.start(undoes, "o-1")
        await gate.begun.wait()
        await handle.pause()
        gate.open.set()
        while (await kinds(handle)).count("step_completed") < 2:
            pass
        await handle.unpause()
        assert await handle.result() == "o-1"
        assert gate.calls == 1


async def test_queries_tell_what_steps_have_done(gate):
    async with Environment([Counts]) as env:
        handle = await env.client.start(Counts)
        await gate.begun.wait()
        while (await kinds(handle)).count("step_completed") < 3:
            pass
        gate.open.set()
        await handle.result()
        assert await handle.query(Counts.so_far) == 3


async def test_a_result_that_is_too_large_fails_the_step():
    async with Environment([too_much]) as env:
        assert await env.client.execute(too_much) == "PayloadError"


async def test_codecs_pass_what_steps_record(gate):
    async with Environment(ALL, [charge], codecs=[Compression(min_bytes=0)]) as env:
        assert await env.client.execute(adds, 5) == 5
        assert (await env.client.execute(mixes, "o-1"))[2] == "charged o-1"
        assert await env.client.execute(fails_once, 9) == "flaky 1 ValueError 4"


async def test_commits_that_fail_are_reported_again(gate, monkeypatch):
    from perdure import _link

    monkeypatch.setattr(_link, "_REPEAT_DELAY_S", 0.0)
    async with Environment(ALL) as env:
        handle = await env.client.start(gated, "o-1")
        await gate.begun.wait()
        env.refuse_commits(3)
        gate.open.set()
        assert await handle.result() == "o-1"
        assert (await kinds(handle)).count("step_completed") == 1


async def test_a_worker_that_leaves_hands_the_run_on(gate, tmp_path):
    gate.open.set()
    async with Client.embedded(tmp_path / "perdure.db") as client:
        async with Worker(client, "default", [gated_twice]):
            handle = await client.start(gated_twice, "o-1")
            await gate.begun.wait()
        async with Worker(client, "default", [gated_twice]):
            assert await handle.result() == "o-1 o-1"


@workflow
async def gated_twice(order: str) -> str:
    first = await workflow.step(gates["now"], order)
    return f"{first} {await workflow.step(gates['now'], order)}"


def test_a_report_says_no_more_than_what_the_code_was_shown():
    """A signal that came while the code ended is not taken for one that it has had."""
    code = SimpleNamespace(last_seq=5)
    job = Job(WorkflowTask(task_token="to 5"), code, Converter())
    job.received_seq = 5
    assert job.report().task_token == "to 5"
    job.receive(KeptTask(task_token="to 6", history={"events": [{"seq": 6}]}))
    job.receive(KeptTask(task_token="to 7", history={"events": [{"seq": 7}]}))
    assert [event.seq for event in job.inbox] == [6, 7]
    assert (job.report().task_token, job.token) == ("to 5", "to 7")
    for seq in (6, 7):
        code.last_seq = seq
        assert job.report().task_token == f"to {seq}"


ending, held = threading.Event(), threading.Event()


@workflow
async def leaves(rounds: int) -> str:
    if rounds:
        await workflow.step(note, "leave")
        ending.set()
        held.wait(10)
        workflow.continue_as_new(rounds - 1)
    return await go.wait()


async def test_a_signal_that_comes_while_the_code_ends_goes_on_with_the_next_run(gate, monkeypatch):
    ending.clear()
    held.clear()
    received = Job.receive

    def receive(job, kept):
        received(job, kept)
        if any(event.HasField("signal_received") for event in job.inbox):
            # It is with the worker, and the code, which is held, has not been shown it.
            held.set()

    monkeypatch.setattr(Job, "receive", receive)
    async with Environment([leaves]) as env:
        handle = await env.client.start(leaves, 1)
        assert await asyncio.to_thread(ending.wait, 10)
        await handle.signal(go, "kept")
        assert await handle.result() == "kept"
