"""Owns activities that stand in for real ones in tests, and what they were called with."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

from perdure._activity import Activity
from perdure._options import CallOptions

P = ParamSpec("P")
R = TypeVar("R")

Fakes: TypeAlias = Mapping[Activity[..., Any] | str, Callable[..., Any]]
"""What stands in for activities, or for those of a name."""


class Mock(Activity[P, R]):
    """An activity that stands in for a real one: `Mock(charge, lambda order: Receipt(...))`.

    It takes and gives what the real one does, so that a type checker sees when the fake does not
    fit. The fake may be async or not; it runs on the test's loop and needs nothing of a lifespan.

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
        self.signature.needs = {}
        self.fn = self._stand_in
        self.is_async = True
        self.calls: Final[list[Any]] = []
        self._fake: Callable[..., Any] = fake

    async def _stand_in(self, *values: Any) -> Any:
        self.calls.append(values[0] if values else None)
        result = self._fake(*values)
        return await result if inspect.isawaitable(result) else result


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
