"""Owns the task token: what a worker holds to show which lease of which task it reports on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from perdure_server.core.errors import InvalidTaskToken
from perdure_server.core.model import TaskKind

_NUMBER = r"([0-9a-f]{1,15})"
"""Fifteen digits stay below 2**60, so a forged number fits into every database."""
_FORM = re.compile(rf"1([wax]){_NUMBER}\.{_NUMBER}\.{_NUMBER}\.{_NUMBER}\.([0-9A-Za-z_-]{{1,255}})")
"""The first character is the version of the form."""
_KINDS = {"w": TaskKind.WORKFLOW, "a": TaskKind.ACTIVITY, "x": TaskKind.ACTIVITY}
"""An activity that was scheduled from outside has a negative number, written without its sign."""


@dataclass(slots=True, frozen=True)
class TaskToken:
    """One lease of one task, and so the id of one attempt of an activity.

    `seen_seq` is the last event that a workflow task carried to the worker.
    """

    run_id: str
    kind: TaskKind
    seq: int
    attempt: int
    lease: int
    seen_seq: int = 0

    def encode(self) -> str:
        """Returns the token as url-safe text."""
        letter = self.kind[0] if self.seq >= 0 else "x"
        return (
            f"1{letter}{abs(self.seq):x}.{self.attempt:x}.{self.lease:x}.{self.seen_seq:x}"
            f".{self.run_id}"
        )

    @classmethod
    def decode(cls, text: str, field: str = "task_token") -> TaskToken:
        """Returns the token of a text that stands in `field`.

        Raises `InvalidTaskToken` for any text that `encode` cannot make.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise InvalidTaskToken("is not a token of this engine", field)
        kind, seq, attempt, lease, seen_seq, run_id = match.groups()
        return cls(
            run_id,
            _KINDS[kind],
            -int(seq, 16) if kind == "x" else int(seq, 16),
            int(attempt, 16),
            lease=int(lease, 16),
            seen_seq=int(seen_seq, 16),
        )
