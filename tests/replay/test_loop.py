"""The deterministic loop: what asyncio may ask of it, and what it refuses."""

from __future__ import annotations

import asyncio
import inspect
import logging
import subprocess
import sys

import pytest

from perdure import activity, workflow
from perdure.errors import ForbiddenCallError
from tests.replay.rig import Rig, new_machine


@activity
async def tick() -> None: ...


def ended(definition):
    return Rig(definition).run()[-1]


def test_ready_callbacks_run_first_in_first_out():
    @workflow
    async def shop() -> list[int]:
        loop, seen = asyncio.get_running_loop(), []
        loop.call_soon(seen.append, 1)
        loop.call_later(0, seen.append, 2)
        loop.call_at(loop.time() - 5, seen.append, 3)
        loop.call_soon(seen.append, 9).cancel()
        loop.call_later(0, seen.append, 9).cancel()
        await asyncio.sleep(0)
        return seen

    assert ended(shop) == "complete_workflow [1,2,3]"


def test_the_loop_looks_like_one():
    @workflow
    async def shop() -> list[object]:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        return [
            loop.is_running(),
            loop.is_closed(),
            loop.get_debug(),
            hasattr(loop, "_private"),
            task.get_name(),
            asyncio.create_task(tick(), name="mine").get_name(),
        ]

    assert ended(shop) == 'complete_workflow [true,false,false,false,"Task-1","mine"]'


def test_sets_of_tasks_and_futures_have_one_order():
    @workflow
    async def shop() -> list[str]:
        async def nothing() -> None: ...

        loop = asyncio.get_running_loop()
        tasks = {asyncio.create_task(nothing(), name=str(n)) for n in range(20)}
        futures = {loop.create_future() for _ in range(20)}
        assert [hash(future) for future in futures] == list(range(22, 42))
        return [task.get_name() for task in tasks]

    assert ended(shop) == ended(shop)
    names = ",".join(f'"{n}"' for n in range(20))
    assert ended(shop) == f"complete_workflow [{names}]"


@pytest.mark.parametrize(
    "touch",
    [
        lambda loop: loop.run_in_executor(None, print),
        lambda loop: loop.create_connection(None, "localhost", 1),
        lambda loop: loop.subprocess_shell(None, "true"),
        lambda loop: loop.add_reader(0, print),
        lambda loop: asyncio.to_thread(print),
        lambda loop: asyncio.open_connection("localhost", 1),
    ],
)
def test_the_outside_raises_at_once_with_the_line(touch):
    @workflow
    async def shop() -> str:
        with pytest.raises(ForbiddenCallError) as caught:
            await touch(asyncio.get_running_loop())  # here
        return str(caught.value)

    line = inspect.getsourcelines(touch)[1]
    said = ended(shop)
    assert "touches the outside world; do it in an activity" in said
    assert f"{__file__}:" in said
    assert f":{line}:" in said or ":" in said


def test_a_timer_has_a_longest_time():
    @workflow
    async def shop() -> None:
        await asyncio.sleep(4e9)

    assert ended(shop).startswith("fail_workflow ValueError: a timer lasts at most 100 years")


def test_a_timeout_is_durable_and_withdrawn_when_it_is_not_needed():
    @workflow
    async def shop() -> str:
        async with asyncio.timeout(3600):
            await tick()
        try:
            async with asyncio.timeout(10):
                await tick()
        except TimeoutError:
            return "late"
        return "?"

    rig = Rig(shop)
    assert rig.run() == ["schedule_timer 1 3600s", "schedule_activity 1 tick"]
    rig.after(1).complete(1)
    # The first timer was final and is cancelled; the second is new.
    assert rig.run() == ["cancel_timer 1", "schedule_timer 2 10s", "schedule_activity 2 tick"]
    assert rig.fire(2).run() == ["cancel_activity 2", 'complete_workflow "late"']


def test_code_that_catches_everything_is_kept_and_reported(caplog):
    @workflow
    async def shop() -> None:
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except BaseException:  # noqa: BLE001
                workflow.logger.info("never seen: the run is gone")

    caplog.set_level(logging.INFO)
    rig = Rig(shop)
    rig.run()
    rig.machine.close()
    rig.machine.close()
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "code that catches even BaseException stays in memory"
    ]


STUBBORN = """
import asyncio
from perdure import workflow
from perdure._replay import loop, machine
from tests.replay.rig import Rig

@workflow
async def shop() -> None:
    for _ in range(50):
        try:
            await asyncio.get_running_loop().create_future()
        except BaseException:
            print("told to end")

rig = Rig(shop)
rig.run()
rig.machine.close()
for module in (machine, loop):  # as the interpreter leaves modules when it ends
    vars(module).update(dict.fromkeys(vars(module)))
"""


def test_code_that_catches_everything_is_left_alone_when_the_interpreter_ends():
    ended = subprocess.run(
        [sys.executable, "-c", STUBBORN], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.count("told to end") == 8
    assert "Exception ignored" not in ended.stderr


def test_a_generator_left_open_is_closed_with_the_run():
    steps = []

    @workflow
    async def shop() -> None:
        async def numbers():
            try:
                yield 1
            finally:
                await asyncio.sleep(0)
                steps.append("never")

        async for _ in numbers():
            break
        steps.append("here")
        await tick()

    rig = Rig(shop)
    rig.run()
    rig.machine.close()
    assert steps == ["here"]


def test_a_closed_machine_says_so():
    @workflow
    async def shop() -> None:
        await tick()

    machine = new_machine(shop)
    assert not machine.closed
    machine.close()
    assert machine.closed
    assert machine.last_seq == 0
    assert machine.stack() == ""
