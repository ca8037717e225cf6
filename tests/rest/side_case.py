"""One case of the REST surface: two ways to ask for the same, as a message and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from perdure.v1.payload_pb2 import Payload
from tests.rest.side_given import nothing


@dataclass(frozen=True)
class Case:
    """One request, said twice, in a namespace named after it.

    `{name}` stands for what its beginning learnt, or for `{namespace}`.
    """

    name: str
    row: str
    native: dict
    """The fields of the message; those of the path make the path of REST too."""
    body: str = ""
    query: str = ""
    headers: dict = field(default_factory=dict)
    given: Callable = nothing
    """What stands before."""
    refused: str = ""
    """The reason, when both sides must refuse. Such a case changes nothing, as any GET."""
    repeats: bool = False
    """Whether it is served and changes nothing all the same."""

    @property
    def changes(self):
        reads = self.row.startswith("GET ")
        return not (reads or self.refused or self.repeats)


@dataclass(frozen=True)
class Stream:
    """One stream, asked for twice."""

    name: str
    row: str
    native: dict
    messages: int
    """How many come at once."""
    query: str = ""
    headers: dict = field(default_factory=dict)
    given: Callable = nothing
    meanwhile: tuple[tuple[Callable, int], ...] = ()
    """What is done while the stream stands, each with the number of messages that it makes."""
    ends: bool = False
    """Whether the stream ends after the last of them."""


def value(text):
    """Returns a payload as REST makes it of JSON."""
    return Payload(data=text.encode(), encoding="json/plain")


W = {"workflow_id": "w"}
"""The workflow of most beginnings."""
RETRIES = {
    "initial_interval": {"seconds": 2},
    "backoff_coefficient": 1.5,
    "max_attempts": 4,
    "non_retryable_types": ["Declined"],
}
RETRIES_JSON = (
    '"initial_interval_secs":2,"backoff_coefficient":1.5,"max_attempts":4,'
    '"non_retryable_errors":["Declined"]'
)
