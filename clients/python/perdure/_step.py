"""Owns the word of workflow code for what its own worker does beside the code."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar, TypeVarTuple, overload

from perdure._effects import OUTSIDE, EffectWords, return_type
from perdure._options import RetryPolicy
from perdure._replay.run import Run
from perdure._replay.source import caller_line
from perdure._replay.steps import LocalStep
from perdure._runtime import current_run
from perdure.interceptors import RunStepCall, chained

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class StepWords(EffectWords):
    """Steps."""

    @overload
    @staticmethod
    def step(
        fn: Callable[[*Ts], Coroutine[Any, Any, T]],
        /,
        *args: *Ts,
        name: str = ...,
        retry: RetryPolicy | None = ...,
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    @staticmethod
    def step(
        fn: Callable[[*Ts], T], /, *args: *Ts, name: str = ..., retry: RetryPolicy | None = ...
    ) -> Coroutine[Any, Any, T]: ...
    @staticmethod  # type: ignore[misc]
    def step(
        fn: Callable[..., Any],
        /,
        *args: Any,
        name: str = "",
        retry: RetryPolicy | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Has the worker of this code run `fn(*args)` and records how it ends: `await` that.

        The result is durable before the code goes on, and no replay runs `fn` again; only a crash
        in between does. An async function runs on the loop on which the worker was entered, any
        other in a thread; it may do what workflow code must not. It is for what is short: the
        worker keeps the workflow task as long as a step runs, and nobody else can go on with it.
        What takes long, heartbeats, or needs a worker of its own belongs into an activity.

        What `fn` raises is raised as StepError. It is not tried again, unless `retry` says so. A
        wait that is given up, as by `asyncio.timeout`, leaves the step alone: its end is recorded
        and told to nobody. The value has the type that `fn` says it returns.
        """
        run = current_run(OUTSIDE)
        step = LocalStep(name or name_of(fn), partial(fn, *args), caller_line(2))
        run.journal.require_open(step.describe)
        step.retry = None if retry is None else retry.to_proto()
        if run.interceptors:
            return _call_intercepted(run, step, return_type(fn, run))
        return run.steps.call(step, return_type(fn, run))


async def _call_intercepted(run: Run, step: LocalStep, result_type: Any) -> Any:
    async def begin(call: RunStepCall) -> Any:
        step.code = partial(step.code.func, *call.arguments, **step.code.keywords)
        step.headers = call.headers
        return await run.steps.call(step, result_type)

    call = RunStepCall(name=step.name, arguments=step.code.args)
    return await chained(run.interceptors, "run_step", begin)(call)


def name_of(fn: Callable[..., Any]) -> str:
    """The name of a step that is given none."""
    inner = fn.func if isinstance(fn, partial) else fn
    name: str = getattr(inner, "__name__", type(inner).__name__)
    return name
