"""Owns the word of workflow code for what its own worker does beside the code."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar, TypeVarTuple, overload

from perdure._effects import OUTSIDE, EffectWords, return_type
from perdure._options import RetryPolicy
from perdure._replay.source import caller_line
from perdure._replay.steps import LocalStep
from perdure._runtime import current_run

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
        step = LocalStep(name or _name_of(fn), partial(fn, *args), caller_line(2))
        run.journal.require_open(step.describe)
        step.retry = None if retry is None else retry.to_proto()
        return run.steps.call(step, return_type(fn, run))


def _name_of(fn: Callable[..., Any]) -> str:
    inner = fn.func if isinstance(fn, partial) else fn
    name: str = getattr(inner, "__name__", type(inner).__name__)
    return name
