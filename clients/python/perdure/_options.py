"""Owns the options that authors write as plain Python values, and their messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, TypedDict, get_args

from perdure._search import SearchAttributes, to_search_attributes
from perdure._times import require_span
from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.command_pb2 import StartChildWorkflow
from perdure.v1.retry_policy_pb2 import RetryPolicy as RetryPolicyMessage

ReusePolicy = Literal["reject_duplicate", "allow_duplicate", "allow_duplicate_failed_only"]
ParentClosePolicy = Literal["terminate", "abandon", "request_cancel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Says how often and how soon failed work is tried again. None takes the server's default.

    Defaults: first wait 1 s, coefficient 2, longest wait 100 s, 3 attempts. `max_attempts=0`
    means unlimited; `non_retryable_types` lists exception classes, or their names, that are never
    tried again.
    """

    initial_interval: timedelta | None = None
    backoff_coefficient: float | None = None
    max_interval: timedelta | None = None
    max_attempts: int | None = None
    non_retryable_types: tuple[str | type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        """Raises TypeError for a value of a wrong type, where it is written."""
        require_types({each.name: getattr(self, each.name) for each in fields(self)})
        names: Any = self.non_retryable_types
        if isinstance(names, str | type) or not all(map(_is_error_type, names)):
            raise TypeError(
                f"non_retryable_types is a tuple of exception classes or their names, got {names!r}"
            )

    def to_proto(self) -> RetryPolicyMessage:
        """Makes the message; raises ValueError for a negative number or a coefficient below 1."""
        if self.max_attempts is not None and self.max_attempts < 0:
            raise ValueError(f"max_attempts must not be negative, got {self.max_attempts}")
        if self.backoff_coefficient is not None and self.backoff_coefficient < 1:
            raise ValueError(
                f"backoff_coefficient must be at least 1, got {self.backoff_coefficient}"
            )
        return RetryPolicyMessage(
            initial_interval=_span("initial_interval", self.initial_interval),
            backoff_coefficient=self.backoff_coefficient,
            max_interval=_span("max_interval", self.max_interval),
            max_attempts=self.max_attempts,
            non_retryable_types=[
                name if isinstance(name, str) else name.__name__
                for name in self.non_retryable_types
            ],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """How an activity is called. None takes the default of the activity, then of the server.

    `start_to_close` bounds one attempt (300 s by default), `schedule_to_start` the wait for a
    worker, `schedule_to_close` everything together, `heartbeat` the silence between two
    heartbeats. `priority` is 1 (first) to 5 (last).
    """

    retry: RetryPolicy | None = None
    start_to_close: timedelta | None = None
    schedule_to_start: timedelta | None = None
    schedule_to_close: timedelta | None = None
    heartbeat: timedelta | None = None
    task_queue: str | None = None
    priority: int | None = None

    def __post_init__(self) -> None:
        """Raises TypeError for a value of a wrong type, where it is written."""
        require_types({each.name: getattr(self, each.name) for each in fields(self)})

    def merged(self, given: CallOptions) -> CallOptions:
        """These options, replaced by those that are given."""
        changes = {f.name: getattr(given, f.name) for f in fields(given)}
        return replace(
            self, **{name: value for name, value in changes.items() if value is not None}
        )

    def to_proto(self) -> ActivityOptions | None:
        """Makes the message; None when every field takes its default.

        Raises ValueError for a bad value.
        """
        if self.priority is not None and not 1 <= self.priority <= 5:
            raise ValueError(f"priority must be 1 to 5, got {self.priority}")
        options = ActivityOptions(
            retry_policy=None if self.retry is None else self.retry.to_proto(),
            start_to_close_timeout=_span("start_to_close", self.start_to_close),
            schedule_to_start_timeout=_span("schedule_to_start", self.schedule_to_start),
            schedule_to_close_timeout=_span("schedule_to_close", self.schedule_to_close),
            heartbeat_timeout=_span("heartbeat", self.heartbeat),
        )
        return options if options.ListFields() else None


class ChildOptions(TypedDict, total=False):
    """How a child is started; every word may be left out.

    `id` is made up when it is left out. `task_queue` is by default that of the child's definition,
    else its parent's. `parent_close_policy` says what becomes of a child that is open when its
    parent closes: `terminate` (the default), `abandon` or `request_cancel`. `search_attributes` are
    what it is found by; `memo`, `summary` and `details` are for those who look at it.
    """

    id: str
    task_queue: str
    parent_close_policy: ParentClosePolicy
    reuse_policy: ReusePolicy
    retry: RetryPolicy
    execution_timeout: timedelta
    run_timeout: timedelta
    priority: int
    search_attributes: SearchAttributes
    memo: Any
    summary: str
    details: str


def require_types(options: Mapping[str, Any]) -> None:
    """Raises TypeError for an option whose value is of a wrong type; None is left out."""
    for name, value in options.items():
        kinds = _TYPES.get(name)
        if value is None or kinds is None:
            continue
        if kinds == (timedelta,):
            require_span(name, value)
        elif not isinstance(value, kinds) or isinstance(value, bool):
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(f"{name} is of type {expected}, got {value!r}")


def policy_name(option: str, known: Any, value: str | None) -> str | None:
    """Returns a policy as the contract names it. ValueError when it is none of the known ones."""
    if value is None:
        return None
    if value not in get_args(known):
        raise ValueError(f"{option} is one of {', '.join(get_args(known))}; got {value!r}")
    return f"{option.removesuffix('_policy').upper()}_POLICY_{value.upper()}"


def child_to_proto(workflow_type: str, options: ChildOptions) -> StartChildWorkflow:
    """Makes the fields of the command that say how a child is run, but for its memo.

    ValueError for a bad value, TypeError for one of a wrong type or an unknown option.
    """
    if unknown := options.keys() - ChildOptions.__annotations__.keys():
        raise TypeError(f"a child has no option {min(unknown)!r}")
    require_types(options)
    priority = options.get("priority")
    if priority is not None and not 1 <= priority <= 5:
        raise ValueError(f"priority must be 1 to 5, got {priority}")
    retry, attributes = options.get("retry"), options.get("search_attributes")
    return StartChildWorkflow(
        workflow_type=workflow_type,
        workflow_id=options.get("id", ""),
        task_queue=options.get("task_queue", ""),
        parent_close_policy=policy_name(
            "parent_close_policy", ParentClosePolicy, options.get("parent_close_policy")
        ),
        reuse_policy=policy_name("reuse_policy", ReusePolicy, options.get("reuse_policy")),
        retry_policy=None if retry is None else retry.to_proto(),
        execution_timeout=_span("execution_timeout", options.get("execution_timeout")),
        run_timeout=_span("run_timeout", options.get("run_timeout")),
        priority=priority,
        search_attributes=to_search_attributes(attributes) if attributes else None,
        summary=options.get("summary"),
        details=options.get("details"),
    )


def _span(name: str, value: timedelta | None) -> timedelta | None:
    if value is not None and value < timedelta(0):
        raise ValueError(f"{name} must not be negative, got {value}")
    return value


def _is_error_type(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, type) and issubclass(value, BaseException))


_TYPES: Final[Mapping[str, tuple[type, ...]]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "initial_interval",
                "max_interval",
                "start_to_close",
                "schedule_to_start",
                "schedule_to_close",
                "heartbeat",
                "execution_timeout",
                "run_timeout",
                "start_delay",
                "every",
                "offset",
                "catchup",
                "jitter",
            ),
            (timedelta,),
        ),
        **dict.fromkeys(("start_at", "end_at"), (datetime,)),
        **dict.fromkeys(
            (
                "max_attempts",
                "priority",
                "remaining_runs",
                "max_workflow_tasks",
                "max_activities",
                "max_cached_runs",
            ),
            (int,),
        ),
        **dict.fromkeys(
            (
                "id",
                "task_queue",
                "request_id",
                "summary",
                "details",
                "cron",
                "timezone",
                "identity",
            ),
            (str,),
        ),
        "backoff_coefficient": (int, float),
        "retry": (RetryPolicy,),
    }
)
"""What the values of options are, by their names: they mean the same wherever they are given."""
