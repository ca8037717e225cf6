"""Owns the command that changes search attributes. Nothing answers it, and nothing undoes it."""

from __future__ import annotations

from typing import Any

from perdure._replay.commands import NOTE, Request, describe_work
from perdure.v1.command_pb2 import Command, UpsertSearchAttributes
from perdure.v1.search_attributes_pb2 import SearchAttributes


class UpsertRequest(Request):
    """UpsertSearchAttributes."""

    __slots__ = ("patch",)

    KIND = "upsert_search_attributes"
    EVENT = "search_attributes_upserted"
    TABLE = NOTE

    def __init__(self, patch: SearchAttributes, source: str) -> None:
        super().__init__(source)
        self.patch = patch

    def describe(self) -> str:
        return describe_work(
            "UpsertSearchAttributes", self.seq, ", ".join(sorted(self.patch.values))
        )

    def fits(self, recorded: Any) -> bool:
        # Values may change as long as the steps do not; which attributes change belongs to a step.
        return bool(
            recorded.seq == self.seq and set(recorded.patch.values) == set(self.patch.values)
        )

    def to_proto(self) -> Command:
        upsert = UpsertSearchAttributes(seq=self.seq, patch=self.patch)
        return Command(upsert_search_attributes=upsert, source=self.source)


def patched(attributes: SearchAttributes, patch: SearchAttributes) -> None:
    """Changes attributes as the server does: a value of no type removes one."""
    for name, value in patch.values.items():
        if value.WhichOneof("value") is None:
            attributes.values.pop(name, None)
        else:
            attributes.values[name].CopyFrom(value)
