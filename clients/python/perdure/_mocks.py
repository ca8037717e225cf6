"""Owns what stands in for activities, steps and children in tests, and what it was called with."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

from perdure._activity import Activity, activity
from perdure._definition import Signature
from perdure._options import CallOptions
from perdure._replay.steps import LocalStep
from perdure._step import name_of
from perdure._workflow import AnyWorkflow, Workflow, WorkflowWords, workflow_of

P = ParamSpec("P")
R = TypeVar("R")

Fakes: TypeAlias = Mapping[Activity[..., Any] | str, Callable[..., Any]]
"""What stands in for activities, or for those of a name."""
StepFakes: TypeAlias = Mapping[Callable[..., Any] | str, Callable[..., Any]]
"""What stands in for the functions of steps, or for steps of a name."""
ChildFakes: TypeAlias = Mapping[Any, Callable[..., Any]]
"""What stands in for workflows, decorated functions or classes, or for those of a name."""

_HANGS: Final = object()


class Faults:
    """What the next calls of a fake do in place of it, the first first."""

    def __init__(self) -> None:
        self._faults: deque[Any] = deque()

    def fail(self, error: BaseException, *, times: int = 1) -> None:
        """Has the next `times` calls raise an error; they count as calls."""
        self._faults.extend([error] * times)

    def next_fault(self) -> Any:
        """Takes what the next call is to do in place of the fake; None when it is to call it."""
        return self._faults.popleft() if self._faults else None


class Mock(Activity[P, R], Faults):
    """An activity that stands in for a real one: `Mock(charge, lambda order: Receipt(...))`.

    It takes and gives what the real one does, so that a type checker sees when the fake does not
    fit. The fake may be async or not; it runs on the test's loop and needs nothing of a lifespan.
    `mock.fail(OSError("down"), times=2)` and `mock.hang()` say what the next attempts do instead.

    Attributes:
        calls: The values it was called with, one for each attempt; None for a call without one.
    """

    def __init__(
        self, real: Activity[P, R] | str, fake: Callable[P, R] | Callable[P, Awaitable[R]]
    ) -> None:
        if isinstance(real, str):
            shape = fake if inspect.isfunction(fake) else _takes_anything
            super().__init__(shape, name=real, options=CallOptions())
        else:
            options = CallOptions(task_queue=real.task_queue)
            super().__init__(real.fn, name=real.name, options=options)
        Faults.__init__(self)
        self.signature.needs = {}
        self.fn = self._stand_in
        self.is_async = True
        self.calls: Final[list[Any]] = []
        self._fake: Callable[..., Any] = fake

    def hang(self, *, times: int = 1) -> None:
        """Has the next `times` attempts never answer, until a timeout of the activity ends them."""
        self._faults.extend([_HANGS] * times)

    async def _stand_in(self, *values: Any) -> Any:
        self.calls.append(values[0] if values else None)
        fault = self.next_fault()
        if fault is _HANGS:
            # Nothing runs meanwhile, so that virtual time goes on to the timeout.
            activity.detach()
        if fault is not None:
            raise fault
        result = self._fake(*values)
        return await result if inspect.isawaitable(result) else result


class StepMock(Faults):
    """What stands in for the function of a step, or for the steps of a name.

    Attributes:
        name: The name of the steps.
        calls: The arguments of each attempt.
    """

    def __init__(self, real: Callable[..., Any] | str, fake: Callable[..., Any]) -> None:
        super().__init__()
        self.name: Final = real if isinstance(real, str) else name_of(real)
        self.calls: Final[list[tuple[Any, ...]]] = []
        self._real = real
        self._fake = fake

    def __repr__(self) -> str:
        return f"<mock of step {self.name!r}>"

    def stands_for(self, step: LocalStep) -> bool:
        """Whether it stands in for a step: by its name, or by the function that it would run."""
        return self._real in (step.name, step.code.func)

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Does what the fake does; it may be async or not, and runs on the test's loop."""
        self.calls.append(args)
        fault = self.next_fault()
        if fault is not None:
            raise fault
        result = self._fake(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result


class ChildMock(Workflow[..., Any], Faults):
    """A workflow that stands in for a real one, or for those of a name.

    The fake may be async, and then is workflow code: it may sleep in virtual time, and must do the
    same in every replay.

    Attributes:
        calls: The values it was called with, one for each run; None for a call without one.
    """

    def __init__(self, real: AnyWorkflow | str, fake: Callable[..., Any]) -> None:
        Faults.__init__(self)
        self.calls: Final[list[Any]] = []
        self._fake = fake
        self._begun: dict[str, Any] = {}
        if isinstance(real, str):
            self._shape = Signature(fake if inspect.isfunction(fake) else _takes_anything)
            super().__init__(self._stand_in, name=real)
        else:
            definition = workflow_of(real)
            self._shape = definition.signature
            super().__init__(self._stand_in, name=definition.name, task_queue=definition.task_queue)

    def __repr__(self) -> str:
        return f"<mock of workflow {self.name!r}>"

    async def _stand_in(self, *values: Any) -> Any:
        run_id = WorkflowWords.info().run_id
        if run_id not in self._begun:
            # The code is run again by each replay; the call was one.
            self.calls.append(values[0] if values else None)
            self._begun[run_id] = self.next_fault()
        fault = self._begun[run_id]
        if fault is not None:
            raise fault
        result = self._fake(*values)
        return await result if inspect.isawaitable(result) else result

    def _signature_of(self, fn: Callable[..., Any]) -> Signature:  # noqa: ARG002 -- it takes all
        return self._shape


def stand_in_for(mocks: Iterable[StepMock], step: LocalStep) -> StepMock | None:
    """Returns what stands in for a step; None when nothing does."""
    return next((mock for mock in mocks if mock.stands_for(step)), None)


def with_children(
    workflows: Sequence[AnyWorkflow], fakes: ChildFakes
) -> tuple[list[AnyWorkflow], dict[str, ChildMock]]:
    """Returns what workers serve: the workflows but for those that something stands in for.

    And what stands in, by name.
    """
    named = {mock.name: mock for mock in (ChildMock(real, fake) for real, fake in fakes.items())}
    real = [each for each in workflows if workflow_of(each).name not in named]
    return [*real, *named.values()], named


def with_mocks(
    activities: Sequence[Activity[..., Any]], fakes: Fakes
) -> tuple[list[Activity[..., Any]], dict[str, Mock[..., Any]]]:
    """Returns what workers serve: the activities but for those that something stands in for.

    And what stands in, by name.
    """
    mocks = [Mock(real, fake) for real, fake in fakes.items()]
    named = {mock.name: mock for mock in mocks}
    real = [activity for activity in activities if activity.name not in named]
    return [*real, *named.values()], named


def _takes_anything(value: Any = None) -> Any:
    """Has the shape of a fake whose own says nothing."""
