"""How steps get from the thread of the code to where they run, and how their ends are heard of."""

from __future__ import annotations

import asyncio
import gc
import threading
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary, ref

import pytest

from perdure._effects import return_type
from perdure._replay.steps import LocalStep
from perdure._step_runner import Attempt, StepRunner, StepSurroundings
from perdure._threads import Threads
from perdure.converter import Converter


async def at_once() -> int:
    return 1


async def fails() -> int:
    raise ValueError("no")


def plain() -> str:
    return threading.current_thread().name


class Scene:
    """A runner whose home loop is the loop of the test."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.steps = StepRunner(
            Converter(),
            user_loop=asyncio.get_running_loop(),
            around=StepSurroundings(threads_max=2, waits=False),
            ended=self.ended.put_nowait,
        )

    def job_of(self, *codes: Any) -> Any:
        """A job whose code has begun steps."""
        return SimpleNamespace(
            task=SimpleNamespace(run_id="run"),
            machine=self,
            unsent=[],
            begun=[LocalStep("step", code, "") for code in codes],
            attempts=[],
        )

    async def launch(self, job: Any) -> None:
        """Launches steps as the thread of the code does, until the home loop has heard of them."""
        heard = asyncio.Event()

        def begun() -> None:
            self.told.append("begun")
            heard.set()

        await asyncio.to_thread(self.steps.launch, job, begun)
        await heard.wait()

    @property
    def results(self) -> list[bytes]:
        book = self.steps.book("run")
        assert book is not None
        return [attempt.result.data for attempt in book.ended if attempt.result]


@pytest.fixture
async def scene():
    scene = Scene()
    yield scene
    scene.steps.stop()


async def test_a_step_that_ends_in_its_first_turn_is_heard_of_with_its_beginning(scene):
    job = scene.job_of(at_once, at_once)
    await scene.launch(job)
    scene.steps.take(job)
    assert scene.results == [b"1", b"1"]
    await asyncio.sleep(0)
    assert scene.told == ["begun"]
    assert scene.ended.empty()


async def test_a_step_that_goes_on_is_heard_of_when_it_ends(scene):
    may_end = asyncio.Event()
    job = scene.job_of(may_end.wait)
    await scene.launch(job)
    scene.steps.take(job)
    assert scene.results == []
    may_end.set()
    assert await scene.ended.get() == "run"
    assert scene.results == [b"true"]


async def test_a_step_in_a_thread_begins_after_the_home_loop_was_told(scene):
    job = scene.job_of(plain)
    await scene.launch(job)
    scene.steps.take(job)
    while not scene.results:
        assert await scene.ended.get() == "run"
    assert scene.results == [b'"perdure-step-1"']


async def test_what_is_to_be_reported_first_does_not_wait_for_the_loop_of_steps(scene):
    job = scene.job_of(at_once)
    job.unsent = ["a command"]
    await scene.launch(job)
    scene.steps.take(job)
    while not scene.results:
        assert await scene.ended.get() == "run"


async def test_a_failure_that_is_heard_of_with_its_beginning_is_tried_again(scene):
    job = scene.job_of(fails)
    await scene.launch(job)
    attempt = job.attempts[0]
    attempt.step.retry = SimpleNamespace(
        max_attempts=2,
        non_retryable_types=(),
        backoff_coefficient=1.0,
        HasField=lambda field: field == "max_attempts",
    )
    scene.steps.take(job)
    assert attempt.number == 2
    assert await scene.ended.get() == "run"
    assert attempt.failure.type == "ValueError"


async def test_steps_of_a_task_that_was_lost_meanwhile_are_cancelled(scene):
    cancelled = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    job = scene.job_of(waits)
    await scene.launch(job)
    scene.steps.discard(job)
    await cancelled.wait()
    assert scene.steps.book("run") is None
    assert scene.ended.empty()


async def test_a_step_that_is_cancelled_before_its_first_turn_has_failed(scene):
    job = scene.job_of(at_once)
    (attempt,) = job.attempts = [Attempt(step, step.code) for step in job.begun]
    scene.steps.take(job)
    scene.steps._run_on_loop(attempt, at_once)
    attempt.on_loop.cancel()
    assert await scene.ended.get() == "run"
    assert attempt.failure.type == "CancelledError"


def test_threads_are_bounded_whoever_submits():
    threads = Threads(2, name="few")
    together = threading.Barrier(2)
    done = threading.Semaphore(0)

    def work() -> None:
        together.wait()
        done.release()

    callers = [threading.Thread(target=threads.submit, args=(work,)) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for _ in callers:
        assert done.acquire(timeout=30)
    threads.stop()
    assert len(threads._threads) == 2


def test_a_run_reads_the_type_of_a_function_once_and_does_not_keep_the_function():
    run: Any = SimpleNamespace(return_types=WeakKeyDictionary())

    def small() -> int:
        return 1

    assert return_type(small, run) is int
    small.__annotations__["return"] = str
    assert return_type(small, run) is int
    gone = ref(small)
    del small
    gc.collect()
    assert gone() is None
    assert not run.return_types
