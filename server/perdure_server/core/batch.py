"""Owns what the commands of one report share while they are applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perdure_server.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from perdure_server.core.draft import Draft, NextRun
    from perdure_server.core.model import Child, Run


@dataclass(slots=True)
class CommandBatch:
    """The draft that the commands change, with what they may need.

    `cancelled` names what was cancelled so far.
    """

    draft: Draft
    next_run: NextRun
    now_us: int
    new_runs: Iterator[NextRun] = field(default_factory=lambda: iter(()))
    """Ids of the children that the commands may start."""
    frames: Mapping[int, bytes] = field(default_factory=dict)
    """The signals that the commands name and that were seen before, by number."""
    cancelled: set[tuple[str, int]] = field(default_factory=set)
    opened: dict[str, Run] = field(default_factory=dict)
    """The children that the commands started, by workflow id."""
    children: set[str] | None = None
    """The workflow ids of all children, once a command has asked for them."""
    upserted: bool = False
    """Whether a command changed search attributes."""
    side_effects: bool = False
    """Whether a command recorded a side effect."""

    def has_child(self, workflow_id: str) -> bool:
        """Whether the run has started a child of this workflow id, or tried to."""
        if self.children is None:
            self.children = {child.workflow_id for child in self.draft.children()}
        return workflow_id in self.children

    def put_child(self, child: Child) -> None:
        """Writes a child."""
        self.draft.put_child(child)
        if self.children is not None:
            self.children.add(child.workflow_id)

    def cancels_again(self, kind: str, seq: int) -> bool:
        """Whether an earlier command of the batch cancelled the same thing; notes it if not.

        Only a batch can repeat a cancellation that is moot: a batch sent again is refused by its
        lease.
        """
        if (kind, seq) in self.cancelled:
            return True
        self.cancelled.add((kind, seq))
        return False


def is_new(seq: int, seq_max: int) -> bool:
    """Whether a command is the next of its kind; False for a repetition.

    Raises `InvalidRequest` for a gap.
    """
    if seq == seq_max + 1:
        return True
    require_known(seq, seq_max + 1)
    return False


def require_known(seq: int, seq_max: int) -> None:
    """Raises `InvalidRequest` unless a number was given out before."""
    if not 1 <= seq <= seq_max:
        raise InvalidRequest(
            f"is {seq}; each kind counts from 1 without a gap, to {seq_max} so far", "seq"
        )
