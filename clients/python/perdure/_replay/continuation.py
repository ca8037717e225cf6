"""Owns what workflow code raises to go on with a new history."""

from __future__ import annotations

from typing import Any, Final

NOTHING: Final = object()
"""No input at all."""


class ContinueAsNew(BaseException):
    """Ends the code, so that another run goes on; not an Exception, lest the code catch it."""

    def __init__(self, value: Any, *, workflow_type: str = "", task_queue: str = "") -> None:
        super().__init__("the workflow continues as new")
        self.value = value
        self.workflow_type = workflow_type
        self.task_queue = task_queue
