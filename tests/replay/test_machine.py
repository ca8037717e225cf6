"""The machine among threads and loops, and how it lets go of a run."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from contextlib import suppress

from perdure import (
    workflow,
)
from tests.replay.rig import Rig, new_machine
from tests.replay.shop import ended, played, tick


async def test_a_machine_runs_inside_a_running_loop():
    @workflow
    async def shop() -> None:
        await asyncio.sleep(1)

    outer, task = asyncio.get_running_loop(), asyncio.current_task()
    rig, said = played(shop)
    assert said == ["schedule_timer 1 1s"]
    assert asyncio.get_running_loop() is outer
    assert asyncio.current_task() is task
    rig.machine.close()


def test_a_machine_runs_on_a_thread_without_a_loop():
    @workflow
    async def shop() -> str:
        return threading.current_thread().name

    said = []
    thread = threading.Thread(target=lambda: said.append(ended(shop)), name="worker-1")
    thread.start()
    thread.join()
    assert said == ['complete_workflow "worker-1"']


def test_closing_a_machine_runs_finally_blocks_and_nothing_else():
    steps = []

    @workflow
    async def shop() -> None:
        async def beside():
            try:
                await tick()
            finally:
                steps.append("beside")
                await tick()
                steps.append("never")

        async def numbers():
            try:
                yield 1
            finally:
                steps.append("generator")

        async def stubborn():
            event = asyncio.Event()
            while True:
                try:
                    await event.wait()
                except BaseException:  # noqa: BLE001
                    steps.append("stubborn")

        task = asyncio.create_task(beside())
        other = asyncio.create_task(stubborn())
        try:
            async for _ in numbers():
                await asyncio.sleep(5)
        finally:
            steps.append("main")
            asyncio.get_running_loop().call_later(0, steps.append, "never")
            with suppress(BaseException):
                await asyncio.sleep(1)
            await asyncio.create_task(tick())
            steps.append("never")
            del task, other

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rig, _ = played(shop)
        assert rig.machine.stack().startswith(f"{__file__}:")
        rig.machine.close()
    assert rig.machine.stack() == ""
    assert rig.machine.closed
    assert steps[0] == "main"
    assert set(steps) == {"main", "beside", "stubborn", "generator"}


def test_many_tasks_and_generators_are_let_go_when_done():
    @workflow
    async def shop() -> int:
        async def one(n):
            return n

        async def numbers(n):
            yield n

        total = 0
        for n in range(300):
            total += await asyncio.create_task(one(n))
            async for value in numbers(n):
                total += value
        return total

    rig = Rig(shop)
    assert rig.run() == ["complete_workflow 89700"]
    loop = rig.machine._run.loop
    assert len(loop._tasks) < 2
    assert len(loop._generators) < 100
    rig.machine.close()


def test_an_exception_nobody_took_is_logged_when_live(caplog):
    @workflow
    async def shop() -> None:
        async def beside():
            raise ValueError("lost")

        task = asyncio.create_task(beside())
        await asyncio.sleep(0)
        del task
        await tick()

    rig, _ = played(shop)
    gc.collect()
    assert "exception was never retrieved in workflow w-1 (run r-1)" in caplog.text
    caplog.clear()
    machine = new_machine(shop)
    machine.run_task(rig.events)
    gc.collect()
    assert caplog.text == ""
    machine.close()
    rig.machine.close()
