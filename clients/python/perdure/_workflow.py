"""Owns `@workflow` and the words that workflow code says.

Now, info, random, uuid4, sleep, logger.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random as random_module
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, ParamSpec, TypeVar, overload

from perdure._definition import Signature
from perdure._replay.forbidden import forbidden_calls, watch_outside_calls
from perdure._runtime import current_run, micros, running_run

P = ParamSpec("P")
R = TypeVar("R")

_OUTSIDE: Final = "this word belongs to workflow code; no workflow is running here"
_log = logging.getLogger("perdure.workflow")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowInfo:
    """What a workflow can know about its run."""

    namespace: str
    workflow_id: str
    run_id: str
    workflow_type: str
    task_queue: str
    attempt: int
    started_at: datetime
    previous_run_id: str
    first_run_id: str


class Workflow(Generic[P, R]):
    """A workflow type: an async function of one value or none.

    Attributes:
        name: The type's name in histories.
        fn: The function.
        task_queue: The queue that clients start it on when they name none.
        signature: What it takes and gives.
    """

    def __init__(
        self,
        fn: Callable[P, Coroutine[Any, Any, R]],
        *,
        name: str | None = None,
        task_queue: str | None = None,
    ) -> None:
        if not inspect.iscoroutinefunction(fn):
            raise TypeError(f"a workflow is an async function, got {fn!r}")
        self.fn = fn
        self.name = name or fn.__name__
        self.task_queue = task_queue
        self.signature = Signature(fn)
        self.__doc__ = fn.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Calls the function, for unit tests; inside a workflow it raises RuntimeError."""
        if running_run() is not None:
            raise RuntimeError(
                f"workflow {self.name} cannot be called from a workflow: "
                "child workflows are not there yet"
            )
        return self.fn(*args, **kwargs)

    def warn_of_forbidden_calls(self) -> list[str]:
        """Logs calls in the code that cannot be replayed, and begins to watch for others.

        Wall clock and randomness are found in the code; files, sockets, threads and processes
        when they are touched. Gives the lines found.
        """
        watch_outside_calls()
        found = forbidden_calls(self.fn)
        for line in found:
            _log.warning("%s (workflow %s)", line, self.name)
        return found

    def __repr__(self) -> str:
        return f"<workflow {self.name!r}>"


class WorkflowWords:
    """`workflow`: the decorator, and the words of workflow code as its methods."""

    logger: Final = _log
    """A logger that is silent while replaying."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
    @overload
    def __call__(
        self, /, *, name: str | None = None, task_queue: str | None = None
    ) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Workflow[P, R]]: ...
    def __call__(
        self, fn: Any = None, /, *, name: str | None = None, task_queue: str | None = None
    ) -> Any:
        """Makes an async function a workflow; TypeError for any other function."""
        if fn is not None:
            return Workflow(fn)
        return lambda fn: Workflow(fn, name=name, task_queue=task_queue)

    @staticmethod
    def now() -> datetime:
        """Workflow time: when what the code is reacting to was recorded."""
        return current_run(_OUTSIDE).now

    @staticmethod
    def info() -> WorkflowInfo:
        """What is known about the run."""
        run = current_run(_OUTSIDE)
        started, identity = run.started, run.identity
        return WorkflowInfo(
            namespace=identity.namespace,
            workflow_id=identity.workflow_id,
            run_id=identity.run_id,
            workflow_type=started.workflow_type,
            task_queue=started.task_queue or identity.task_queue,
            attempt=started.attempt,
            started_at=run.started_at,
            previous_run_id=started.previous_run_id,
            first_run_id=started.first_run_id,
        )

    @staticmethod
    def random() -> random_module.Random:
        """The run's source of randomness: the same numbers in every replay."""
        return current_run(_OUTSIDE).keep(random_module.Random)

    @classmethod
    def uuid4(cls) -> uuid.UUID:
        """A random UUID that is the same in every replay."""
        return uuid.UUID(int=cls.random().getrandbits(128), version=4)

    @staticmethod
    async def sleep(span: timedelta | float) -> None:
        """Waits; a number is seconds, and then it is the same as asyncio.sleep, durable too."""
        await asyncio.sleep(micros(span) / 1e6)


class _SilentWhileReplaying(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        run = running_run()
        if run is None:
            return True
        record.workflow_id = run.identity.workflow_id
        record.run_id = run.identity.run_id
        return not run.replaying


_log.addFilter(_SilentWhileReplaying())
workflow: Final = WorkflowWords()
