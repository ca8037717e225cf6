"""What stands between calls and what they do, and what travels beside the input."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from datetime import timedelta

import pytest

from perdure import (
    ActivityInterceptor,
    CarryContext,
    Client,
    ClientInterceptor,
    RetryPolicy,
    StepError,
    UpdateRejectedError,
    Worker,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowInterceptor,
    activity,
    signal,
    update,
    workflow,
)
from perdure.converter import Converter
from perdure.errors import DeterminismError
from perdure.interceptors import from_headers
from perdure.testing import Environment, replay
from perdure.v1.payload_pb2 import Header, Payload

tenant: ContextVar[str] = ContextVar("tenant")
trace: ContextVar[str] = ContextVar("trace")
go = signal("go", str)


@activity
async def whose(thing: str) -> str:
    return f"{thing} of {tenant.get('nobody')}"


@activity
def whose_in_thread(thing: str) -> str:
    assert threading.current_thread().name.startswith("perdure-activity")
    return f"{thing} of {tenant.get('nobody')}"


@activity
async def nothing() -> None: ...


@workflow
class Collect:
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.seen)
        await nothing()
        return [*self.seen, await whose("book"), await whose_in_thread("pen")]

    @signal
    def see(self, thing: str) -> None:
        self.seen.append(f"{thing} of {tenant.get('nobody')}")


class Says(ClientInterceptor, WorkflowInterceptor, ActivityInterceptor):
    """Notes what passes, with its name."""

    def __init__(self, name, log):
        self.name = name
        self.log = log

    def note(self, *what):
        self.log.append(" ".join([self.name, *what]))

    async def call(self, call, proceed):
        self.note(call.operation, call.name)
        return await proceed(call)

    async def execute_workflow(self, call, proceed):
        self.note("execute_workflow", workflow.info().workflow_type)
        return await proceed(call)

    async def handle_signal(self, call, proceed):
        self.note("handle_signal", call.name)
        return await proceed(call)

    async def schedule_activity(self, call, proceed):
        self.note("schedule_activity", call.name)
        return await proceed(call)

    async def execute_activity(self, call, proceed):
        self.note("execute_activity", call.info.name)
        return await proceed(call)


ALL = ([Collect], [whose, whose_in_thread, nothing])


@pytest.mark.parametrize("max_cached_runs", [0, 1000])
async def test_context_variables_reach_code_methods_and_activities(max_cached_runs):
    carry = CarryContext(tenant=tenant, trace=trace)
    async with Environment(*ALL, interceptors=[carry], max_cached_runs=max_cached_runs) as env:
        token = tenant.set("ada")
        handle = await env.client.start(Collect)
        tenant.reset(token)
        await handle.signal(Collect.see, "pear")
        assert await handle.result() == ["pear of ada", "book of ada", "pen of ada"]
        history = await handle.history()

    started = history.events[0].workflow_started
    assert started.headers == [Header(name="tenant", value=Payload(data=b'"ada"'))]
    assert replay(history, [Collect], interceptors=[carry]) == []


async def test_runs_do_not_share_context():
    @workflow
    async def sets(name: str) -> str:
        tenant.set(name)
        await asyncio.sleep(1)
        return await whose("book")

    async with Environment([sets], [whose], interceptors=[CarryContext(tenant=tenant)]) as env:
        names = await asyncio.gather(*(env.client.execute(sets, name) for name in "ab"))
    assert names == ["book of a", "book of b"]
    assert tenant.get("nobody") == "nobody"


async def test_the_first_interceptor_is_the_outermost_and_those_of_a_worker_are_inside(address):
    log: list[str] = []
    interceptors = [Says("1", log), Says("2", log)]
    async with (
        Client.connect(address, interceptors=interceptors) as client,
        Worker(client, "q", *ALL, interceptors=[Says("3", log)]),
    ):
        handle = await client.start(Collect, id="c")
        await handle.signal(Collect.see, "pear")
        await handle.result()
        await handle.describe()
    assert [entry for entry in log if entry[2:].split()[0] in {"start", "signal", "describe"}] == [
        "1 start Collect",
        "2 start Collect",
        "1 signal see",
        "2 signal see",
        "1 describe ",
        "2 describe ",
    ]
    inside = [f"{n} {what}" for what in INSIDE for n in (1, 2, 3)]
    assert sorted(entry for entry in log if "_" in entry.split()[1]) == sorted(inside)
    first = [log.index(f"{n} execute_workflow Collect") for n in (1, 2, 3)]
    assert first == sorted(first)


INSIDE = [
    "execute_workflow Collect",
    "handle_signal see",
    *(f"{what}_activity {one.name}" for one in ALL[1] for what in ("schedule", "execute")),
]


async def test_an_interceptor_can_change_what_passes(address):
    class Loud(ClientInterceptor, WorkflowInterceptor, ActivityInterceptor):
        async def call(self, call, proceed):
            if call.operation == "execute":
                call.arguments = (call.arguments[0] + 1,)
                call.headers["by"] = {"who": "ada"}
            result = await proceed(call)
            return f"{result}!" if call.operation == "execute" else result

        async def execute_workflow(self, call, proceed):
            assert call.headers == {"by": {"who": "ada"}}
            call.arguments = (call.arguments[0] * 10,)
            return await proceed(call) + " done"

        async def schedule_activity(self, call, proceed):
            call.headers["why"] = "why not"
            return (await proceed(call)).upper()

        async def execute_activity(self, call, proceed):
            assert call.headers == {"why": "why not"}
            assert call.info.attempt == 1
            return await proceed(call) + f" of {call.arguments[0]}"

    @activity
    async def double(number: int) -> str:
        return f"twice {number}"

    @workflow(name="asks")
    async def asks(number: int) -> str:
        return await double(number)

    for use_session in (True, False):
        async with (
            Client.connect(address, interceptors=[Loud()], use_session=use_session) as client,
            Worker(client, "q", [asks], [double]),
        ):
            assert await client.execute(asks, 1) == "TWICE 20 OF 20 done!"


async def test_what_an_interceptor_raises_is_a_failure_of_what_it_stands_around():
    class Refuses(WorkflowInterceptor, ActivityInterceptor):
        async def execute_workflow(self, call, proceed):
            if workflow.info().workflow_type == "refused":
                raise PermissionError("not you")
            return await proceed(call)

        async def execute_activity(self, call, proceed):
            raise PermissionError("nor you")

    @workflow
    async def refused() -> None: ...

    @workflow
    async def calls() -> None:
        await whose_in_thread.options(schedule_to_close=timedelta(seconds=1))("pen")

    interceptors = [Refuses()]
    async with Environment([refused, calls], [whose_in_thread], interceptors=interceptors) as env:
        with pytest.raises(WorkflowFailedError, match="PermissionError: not you"):
            await env.client.execute(refused)
        with pytest.raises(WorkflowFailedError, match="PermissionError: nor you"):
            await env.client.execute(calls)


async def test_an_interceptor_that_cares_for_nothing_changes_nothing():
    class Nothing(ClientInterceptor, WorkflowInterceptor, ActivityInterceptor): ...

    async with Environment(*ALL, interceptors=[Nothing()]) as env:
        handle = await env.client.start(Collect)
        await handle.signal(Collect.see, "pear")
        assert (await handle.result())[0] == "pear of nobody"


async def test_headers_are_kept_by_a_retry_of_the_workflow():
    attempts: list[str] = []

    @workflow
    async def fails_once() -> str:
        attempts.append(tenant.get())
        if workflow.info().attempt == 1:
            raise ValueError("once")
        return tenant.get()

    async with Environment([fails_once], interceptors=[CarryContext(tenant=tenant)]) as env:
        token = tenant.set("ada")
        retry = RetryPolicy(max_attempts=2)
        assert await env.client.execute(fails_once, retry=retry) == "ada"
        tenant.reset(token)
    assert attempts == ["ada", "ada"]


async def test_an_interceptor_is_part_of_what_is_replayed():
    class Audits(WorkflowInterceptor):
        async def execute_workflow(self, call, proceed):
            await nothing()
            return await proceed(call)

        async def schedule_activity(self, call, proceed):
            if call.name != "nothing":
                await workflow.sleep(60)
            return await proceed(call)

    @workflow
    async def pays() -> str:
        return await whose("book")

    async with Environment([pays], [whose, nothing], interceptors=[Audits()]) as env:
        handle = await env.client.start(pays)
        await handle.result()
        history = await handle.history()
    kinds = [event.WhichOneof("event") for event in history.events]
    assert [kind for kind in kinds if kind.endswith("_scheduled")] == [
        "activity_scheduled",
        "timer_scheduled",
        "activity_scheduled",
    ]
    assert replay(history, [pays], interceptors=[Audits()]) == []
    with pytest.raises(DeterminismError, match="nothing"):
        replay(history, [pays])


def test_a_header_that_is_not_json_stays_a_payload():
    odd = Payload(data=b"x", encoding="avro")
    assert from_headers([Header(name="a", value=odd)], Converter()) == {"a": odd}


def thread_of(thing: str) -> str:
    return f"{thing} of {tenant.get('nobody')} in {threading.current_thread().name[:12]}"


async def on_loop(thing: str) -> str:
    return f"{thing} of {tenant.get('nobody')}"


def stops(_: str) -> None:
    raise StopIteration("at once")


class Around(WorkflowInterceptor, ActivityInterceptor):
    """Notes everything that code does besides activities and children."""

    def __init__(self):
        self.log: list[str] = []

    async def run_step(self, call, proceed):
        self.log.append(f"run_step {call.name} {call.arguments}")
        call.arguments = tuple(each.upper() for each in call.arguments)
        return await proceed(call)

    async def execute_step(self, call, proceed):
        self.log.append(f"execute_step {call.name} {call.attempt} of {call.workflow_id}")
        assert call.run_id
        return await proceed(call)

    async def signal_workflow(self, call, proceed):
        self.log.append(f"signal {call.name} {call.arguments[0]} to {call.workflow_id}")
        call.arguments = ("changed",)
        return await proceed(call)

    async def cancel_workflow(self, call, proceed):
        self.log.append(f"cancel {call.workflow_id}")
        return await proceed(call)

    def side_effect(self, call, proceed):
        self.log.append(f"side_effect {call.name}")
        return proceed(call) + 1

    def check_update(self, call, proceed):
        self.log.append(f"check_update {call.name} {call.arguments[0]}")
        if call.arguments[0] == 13:
            raise PermissionError("not that one")
        proceed(call)


@pytest.mark.parametrize("max_cached_runs", [0, 1000])
async def test_steps_have_interceptors_and_context(max_cached_runs):
    @workflow
    async def steps(name: str) -> list[str]:
        tenant.set(name)
        retry = RetryPolicy(max_attempts=2)
        told = [
            await workflow.step(thread_of, "pen"),
            await workflow.step(on_loop, "book"),
            await workflow.step(lambda thing: on_loop(f"the {thing}"), "ink", name="lambda"),
        ]
        try:
            await workflow.step(stops, "it", retry=retry)
        except StepError as error:
            told.append(f"{error.type} {error.attempt}")
        return told

    around = Around()
    carry = CarryContext(tenant=tenant)
    async with Environment(
        [steps], interceptors=[carry, around], max_cached_runs=max_cached_runs
    ) as env:
        handle = await env.client.start(steps, "ada", id="s")
        told = await handle.result()
        history = await handle.history()
    assert told[:3] == ["PEN of ada in perdure-step", "BOOK of ada", "the INK of ada"]
    assert told[3].endswith(" 2")
    assert [entry for entry in around.log if entry.startswith("execute")] == [
        "execute_step thread_of 1 of s",
        "execute_step on_loop 1 of s",
        "execute_step lambda 1 of s",
        "execute_step stops 1 of s",
        "execute_step stops 2 of s",
    ]
    assert around.log[0] == "run_step thread_of ('pen',)"
    assert replay(history, [steps], interceptors=[carry, Around()]) == []


async def test_what_an_interceptor_of_a_step_raises_is_its_failure():
    class Refuses(ActivityInterceptor):
        async def execute_step(self, call, proceed):
            raise PermissionError("not you")

    @workflow
    async def steps() -> None:
        await workflow.step(on_loop, "it")

    async with Environment([steps], interceptors=[Refuses()]) as env:
        with pytest.raises(WorkflowFailedError, match="PermissionError: not you"):
            await env.client.execute(steps)


async def test_messages_side_effects_and_checks_have_interceptors():
    @workflow
    async def listens() -> str:
        return await go.wait()

    @workflow
    class Speaks:
        async def run(self) -> list[str | int]:
            await go.wait()
            child = workflow.start_child(listens, id="child")
            await child.signal(go, "one")
            heard = await child.result()
            other = workflow.external("other", run_id="")
            await other.signal("nobody", 1)
            await other.cancel("enough")
            number = workflow.side_effect(lambda: 41, name="number")
            return [heard, number]

        @update
        def take(self, number: int) -> int:
            return number

        @take.validator
        def check(self, number: int) -> None:
            if number < 0:
                raise ValueError("too small")

    around = Around()
    async with Environment([listens, Speaks], interceptors=[around]) as env:
        other = await env.client.start(listens, id="other")
        handle = await env.client.start(Speaks, id="s")
        assert await handle.update(Speaks.take, 1) == 1
        for number, why in ((13, "not that one"), (-1, "too small")):
            with pytest.raises(UpdateRejectedError, match=why):
                await handle.update(Speaks.take, number)
        await handle.signal(go, "speak")
        assert await handle.result() == ["changed", 42]
        with pytest.raises(WorkflowCancelledError):
            await other.result()
    assert {
        "signal go one to child",
        "signal nobody 1 to other",
        "cancel other",
        "side_effect number",
        "check_update take 1",
        "check_update take 13",
        "check_update take -1",
    } == set(around.log)
