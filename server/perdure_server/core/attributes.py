"""Owns search attributes: what a run may have, and how they change; and notes for its readers."""

from __future__ import annotations

from perdure.v1.command_pb2 import StartChildWorkflow, UpsertSearchAttributes
from perdure.v1.history_pb2 import SearchAttributesUpserted, WorkflowStarted
from perdure.v1.schedule_pb2 import ScheduleSpec
from perdure.v1.search_attributes_pb2 import SearchAttribute, SearchAttributes
from perdure.v1.workflow_service_pb2 import StartWorkflowRequest
from perdure_server.core.attribute_keys import INSTANT_US_MAX, INSTANT_US_MIN, keys_of
from perdure_server.core.batch import CommandBatch, is_new
from perdure_server.core.errors import InvalidRequest, LimitExceeded
from perdure_server.core.fields import check_count, check_payload, check_text, require_id
from perdure_server.core.limits import (
    DETAILS_BYTES_MAX,
    ID_BYTES_MAX,
    SEARCH_ATTRIBUTES_BYTES_MAX,
    SEARCH_ATTRIBUTES_MAX,
    SEARCH_TEXT_BYTES_MAX,
    SEARCH_VALUES_MAX,
    SUMMARY_BYTES_MAX,
)
from perdure_server.core.model import Run, SearchKey
from perdure_server.core.times import from_timestamp

Begins = StartWorkflowRequest | StartChildWorkflow | ScheduleSpec
"""What begins a run, and says what it is found by and what is noted about it."""
Key = tuple[str, bytes]
"""The name of an attribute, and one of its keys."""


def check_attributes(field: str, attributes: SearchAttributes) -> None:
    """Checks what a run is to have, or how that is to change."""
    check_count(field, len(attributes.values), SEARCH_ATTRIBUTES_MAX)
    for name, value in attributes.values.items():
        require_id(f"{field}.name", name)
        _check_value(f"{field}.{name}", value)
    if (size := attributes.ByteSize()) > SEARCH_ATTRIBUTES_BYTES_MAX:
        raise LimitExceeded(f"has {size} bytes; the bound is {SEARCH_ATTRIBUTES_BYTES_MAX}", field)


def check_labels(given: Begins) -> None:
    """Checks what a run is to be found by and what is noted about it."""
    check_payload("memo", given.memo)
    check_text("summary", given.summary, SUMMARY_BYTES_MAX)
    check_text("details", given.details, DETAILS_BYTES_MAX)
    check_attributes("search_attributes", given.search_attributes)


def label(started: WorkflowStarted, given: Begins) -> None:
    """Writes them into the first event of the run."""
    started.summary, started.details = given.summary, given.details
    if given.HasField("memo"):
        started.memo.CopyFrom(given.memo)
    if given.search_attributes.values:
        started.search_attributes.ParseFromString(encoded(given.search_attributes))


def encoded(attributes: SearchAttributes) -> bytes:
    """Returns the attributes that have a value as a row keeps them: equal ones as equal bytes."""
    kept = SearchAttributes()
    patch(kept, attributes)
    return kept.SerializeToString(deterministic=True)


def changed_keys(before: Run, run: Run) -> tuple[dict[Key, SearchKey], set[Key]]:
    """Returns the keys to put and those to delete when a stored run, or a new one, changes."""
    if before.attributes == run.attributes:
        return {}, set()
    old, new = search_keys(before), search_keys(run)
    return {key: row for key, row in new.items() if old.get(key) != row}, old.keys() - new.keys()


def search_keys(run: Run) -> dict[Key, SearchKey]:
    """Returns the keys that a run is found by."""
    return {
        (name, key): SearchKey(run.run_id, name, key, run.namespace, place == 0)
        for name, value in SearchAttributes.FromString(run.attributes).values.items()
        for place, key in enumerate(keys_of(value))
    }


def patch(attributes: SearchAttributes, changes: SearchAttributes) -> None:
    """Changes attributes; one without a value goes."""
    for name, value in changes.values.items():
        if value.WhichOneof("value") is None:
            attributes.values.pop(name, None)
        else:
            attributes.values[name].CopyFrom(value)


def upsert(batch: CommandBatch, command: UpsertSearchAttributes) -> None:
    """Changes the attributes of the run, and writes that it did.

    Without a number nothing is written when no value changes.
    """
    draft, run = batch.draft, batch.draft.run
    check_attributes("patch", command.patch)
    if command.seq and not is_new(command.seq, run.attribute_seq_max):
        return
    attributes = SearchAttributes.FromString(run.attributes)
    patch(attributes, command.patch)
    check_attributes("patch", attributes)
    after = encoded(attributes)
    if not command.seq and after == run.attributes:
        return
    event = SearchAttributesUpserted(seq=command.seq, patch=command.patch)
    draft.append(batch.now_us, search_attributes_upserted=event)
    run.attribute_seq_max = max(run.attribute_seq_max, command.seq)
    run.attributes = after
    batch.upserted = True


def _check_value(field: str, value: SearchAttribute) -> None:
    match value.WhichOneof("value"):
        case "keyword":
            _check_keyword(field, value.keyword)
        case "text":
            check_text(field, value.text, SEARCH_TEXT_BYTES_MAX)
        case "double":
            if value.double - value.double != 0:
                raise InvalidRequest(f"is {value.double}; it must be finite", field)
        case "datetime":
            if not INSTANT_US_MIN <= from_timestamp(value.datetime) <= INSTANT_US_MAX:
                raise InvalidRequest("is not between the years 1 and 9999", field)
        case "keyword_list":
            check_count(field, len(value.keyword_list.values), SEARCH_VALUES_MAX)
            for index, each in enumerate(value.keyword_list.values):
                _check_keyword(f"{field}[{index}]", each)


def _check_keyword(field: str, text: str) -> None:
    check_text(field, text, ID_BYTES_MAX)
    if "\0" in text:
        raise InvalidRequest("has a NUL", field)
