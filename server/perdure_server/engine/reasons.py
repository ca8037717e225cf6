"""Owns why nobody has a ready task: what the workers of its queue are to it."""

from __future__ import annotations

from enum import IntEnum

from perdure_server.core.model import Task


class Service(IntEnum):
    """What the workers of a queue are to a task, the best of them first asked, last named."""

    NOBODY = 0
    """No worker is on the queue."""
    OTHER_TYPES = 1
    """Those that are there do not have its type."""
    NOT_ASKING = 2
    """Who has its type registered, and has no poll and no stream open."""
    BUSY = 3
    """Who has its type has no free slot."""


def reason(task: Task, service: Service) -> str:
    """Says why nobody has a ready task."""
    if service is Service.NOBODY:
        return f"no worker is connected to task queue {task.queue!r}"
    if service is Service.OTHER_TYPES:
        return f"no worker on task queue {task.queue!r} has {task.kind} type {task.type!r}"
    if service is Service.NOT_ASKING:
        return f"no worker that registered for task queue {task.queue!r} asks for tasks now"
    return f"every worker on task queue {task.queue!r} is busy"
