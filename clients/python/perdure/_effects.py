"""Owns the words of workflow code for values that are made once, and for changes of the code."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_type_hints

from perdure._replay.source import caller_line
from perdure._runtime import current_run
from perdure.interceptors import EffectCall, nested

if TYPE_CHECKING:
    from perdure._replay.run import Run

T = TypeVar("T")

OUTSIDE: Final = "this word belongs to workflow code; no workflow is running here"


class EffectWords:
    """Side effects, and what old runs do not see."""

    @staticmethod
    def side_effect(fn: Callable[[], T], *, name: str = "") -> T:
        """Returns what `fn` returns, which is recorded: every replay gets the same value.

        `fn` is plain, quick, and may do what workflow code must not, as reading a clock. It may be
        called more than once before a value is recorded. What takes time or can fail belongs into
        an activity. The value has the type that `fn` says it returns.
        """
        run, source = current_run(OUTSIDE), caller_line(2)

        def make(_: EffectCall) -> Any:
            value = run.effects.make(fn, name, source)
            return run.converter.decode(value, return_type(fn, run))

        result: T = nested(run.interceptors, "side_effect", make)(EffectCall(name=name))
        return result

    @staticmethod
    def patched(patch: str) -> bool:
        """Whether to run the new code of a change: true unless the history was made without it.

        The run records that it has the change, and answers the same for all of its life.
        """
        return current_run(OUTSIDE).effects.patched(patch, caller_line(2))

    @staticmethod
    def deprecate_patch(patch: str) -> None:
        """Stands where `patched` was when no run without the change is left.

        It can be removed when no run is left that was begun before it stood here.
        """
        current_run(OUTSIDE).effects.patched(patch, caller_line(2), deprecated=True)


def return_type(fn: Callable[..., Any], run: Run) -> Any:
    """The type that a function says it returns; Any when it does not say. A run reads it once."""
    if not isinstance(fn, FunctionType):
        return _return_type(fn)
    try:
        return run.return_types[fn]
    except KeyError:
        found = run.return_types[fn] = _return_type(fn)
        return found


def _return_type(fn: Callable[..., Any]) -> Any:
    try:
        return get_type_hints(fn).get("return", Any)
    except (NameError, TypeError):
        return Any
