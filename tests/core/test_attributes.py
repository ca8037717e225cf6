"""Search attributes: what a run may have, how commands change them, and which keys are stored."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.v1.command_pb2 import Command, UpsertSearchAttributes
from perdure.v1.payload_pb2 import Payload
from perdure.v1.search_attributes_pb2 import KeywordList, SearchAttribute, SearchAttributes
from perdure.v1.workflow_service_pb2 import (
    CountWorkflowsRequest,
    ListWorkflowsRequest,
    StartWorkflowRequest,
)
from perdure_server.core.attribute_keys import number_key, string_key
from perdure_server.core.attributes import check_attributes, encoded, search_keys
from perdure_server.core.checks import check_count_workflows, check_list, check_start
from perdure_server.core.errors import (
    InvalidCommand,
    InvalidRequest,
    LimitExceeded,
    PayloadTooLarge,
)
from perdure_server.core.limits import PAYLOAD_BYTES_MAX
from perdure_server.core.model import TaskKind
from perdure_server.core.times import to_timestamp
from tests.core.life import Life, attempts, await_signal, complete, fail, upsert


def attributes(**values: Any) -> SearchAttributes:
    message = SearchAttributes()
    for name, value in values.items():
        if value is None:
            message.values[name].SetInParent()
        elif isinstance(value, SearchAttribute):
            message.values[name].CopyFrom(value)
        else:
            kind = "keyword" if isinstance(value, str) else "int"
            setattr(message.values[name], kind, value)
    return message


def of(life: Life) -> SearchAttributes:
    return SearchAttributes.FromString(life.run.attributes)


def test_a_run_begins_with_those_of_its_start() -> None:
    life = Life(search_attributes=attributes(team="a", gone=None))
    assert of(life) == attributes(team="a")
    assert life.events[0].workflow_started.search_attributes == attributes(team="a")


def test_a_run_without_any_has_none() -> None:
    life = Life()
    assert life.run.attributes == b""
    assert not life.events[0].workflow_started.HasField("search_attributes")
    assert not Life(search_attributes=attributes(gone=None)).run.attributes


def test_a_start_keeps_what_people_said_of_it() -> None:
    life = Life(memo=Payload(data=b"{}"), summary="s", details="d")
    started = life.events[0].workflow_started
    assert (started.memo.data, started.summary, started.details) == (b"{}", "s", "d")


def test_a_change_is_recorded_and_changes_what_it_names() -> None:
    life = Life(search_attributes=attributes(team="a", amount=1))
    life.work(upsert(1, attributes(amount=2, stage="x")), await_signal(1))
    assert of(life) == attributes(team="a", amount=2, stage="x")
    recorded = life.events[1].search_attributes_upserted
    assert (recorded.seq, recorded.patch) == (1, attributes(amount=2, stage="x"))
    assert not life.state.tasks
    life.signal()
    life.work(upsert(2, attributes(team=None)), await_signal(2))
    assert of(life) == attributes(amount=2, stage="x")
    assert life.run.attribute_seq_max == 2


def test_a_repetition_writes_nothing_and_a_gap_is_refused() -> None:
    life = Life()
    life.work(upsert(1, attributes(a=1)), await_signal(1))
    life.signal()
    length = life.run.history_length
    life.work(upsert(1, attributes(a=9)))
    assert life.run.history_length == length
    assert of(life) == attributes(a=1)
    assert not life.state.tasks
    life.signal()
    with pytest.raises(InvalidCommand, match=r"upsert_search_attributes.seq: is 3"):
        life.work(upsert(3, attributes(a=1)))


def test_a_numbered_change_that_changes_nothing_is_recorded() -> None:
    life = Life(search_attributes=attributes(a=1))
    life.work(upsert(1, attributes(a=1)), await_signal(1))
    assert life.kinds[1:] == ["search_attributes_upserted", "workflow_awaiting_signal"]


def test_without_a_number_a_change_that_changes_nothing_neither_writes_nor_dispatches() -> None:
    life = Life(search_attributes=attributes(a=1))
    life.work(upsert(0, attributes(a=1, b=None)))
    assert life.kinds == ["workflow_started"]
    assert not life.state.tasks


@pytest.mark.parametrize("seq", [0, 1])
def test_changes_alone_in_a_batch_run_the_code_again_once(seq: int) -> None:
    life = Life()
    life.work(upsert(seq, attributes(a=1)))
    assert life.kinds[1:] == ["search_attributes_upserted"]
    assert (TaskKind.WORKFLOW, 0) in life.state.tasks
    life.work(upsert(seq, attributes(a=1)))
    assert not life.state.tasks


def test_the_last_change_of_a_run_is_kept_and_so_are_its_keys() -> None:
    life = Life(search_attributes=attributes(a=1))
    life.work(upsert(1, attributes(a=2)), complete())
    assert life.run.status.is_closed
    assert of(life) == attributes(a=2)
    change = life.draft.change()
    assert change.closes
    assert change.put_keys.keys() == {("a", number_key(2))}
    assert change.del_keys == {("a", number_key(1))}


def test_a_retry_goes_on_with_those_in_force() -> None:
    life = Life(search_attributes=attributes(a=1), retry_policy=attempts(2))
    life.work(upsert(1, attributes(a=2)), fail())
    (following,) = life.draft.next_runs
    assert SearchAttributes.FromString(following.run.attributes) == attributes(a=2)
    assert following.started().search_attributes == attributes(a=2)
    assert following.change().put_keys.keys() == {("a", number_key(2))}


def test_the_least_key_of_a_name_is_marked() -> None:
    value = SearchAttribute(keyword_list=KeywordList(values=["b", "a"]))
    life = Life(search_attributes=attributes(tags=value, a=1))
    rows = search_keys(life.run)
    marks = {name_and_key: row.is_least for name_and_key, row in rows.items()}
    assert marks == {
        ("tags", string_key("a")): True,
        ("tags", string_key("b")): False,
        ("a", number_key(1)): True,
    }
    assert {(row.run_id, row.namespace) for row in rows.values()} == {("run-1", "main")}


def test_equal_attributes_are_kept_as_equal_bytes() -> None:
    names = [f"name-{number}" for number in range(50)]
    one, other = SearchAttributes(), SearchAttributes()
    for name in names:
        one.values[name].int = 1
    for name in reversed(names):
        other.values[name].int = 1
    assert encoded(one) == encoded(other)


@pytest.mark.parametrize(
    ("value", "error", "told"),
    [
        (SearchAttribute(keyword="x" * 256), LimitExceeded, "f.a: has 256 bytes"),
        (SearchAttribute(keyword="x\0"), InvalidRequest, "f.a: has a NUL"),
        (SearchAttribute(text="x" * 2049), LimitExceeded, "f.a: has 2049 bytes"),
        (SearchAttribute(double=float("nan")), InvalidRequest, "f.a: is nan; it must be finite"),
        (SearchAttribute(double=float("-inf")), InvalidRequest, "must be finite"),
        (
            SearchAttribute(datetime=to_timestamp(10**18)),
            InvalidRequest,
            "not between the years 1 and 9999",
        ),
        (
            SearchAttribute(keyword_list=KeywordList(values=["x"] * 101)),
            LimitExceeded,
            "f.a: is 101; the bound is 100",
        ),
        (
            SearchAttribute(keyword_list=KeywordList(values=["x", "y" * 256])),
            LimitExceeded,
            r"f.a\[1\]: has 256 bytes",
        ),
    ],
)
def test_a_value_has_bounds(value: SearchAttribute, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        check_attributes("f", attributes(a=value))


def test_good_values_pass() -> None:
    check_attributes(
        "f",
        attributes(
            a="x" * 255,
            b=SearchAttribute(text="x" * 2048),
            c=SearchAttribute(double=-1.5),
            d=SearchAttribute(datetime=to_timestamp(0)),
            e=SearchAttribute(keyword_list=KeywordList(values=["x"] * 100)),
            f=SearchAttribute(bool=True),
            g=None,
        ),
    )


def test_a_run_has_bounds() -> None:
    many = attributes(**{f"n{number}": 1 for number in range(101)})
    with pytest.raises(LimitExceeded, match="f: is 101; the bound is 100"):
        check_attributes("f", many)
    large = {f"n{number}": SearchAttribute(text="x" * 2048) for number in range(20)}
    with pytest.raises(LimitExceeded, match="the bound is 32768"):
        check_attributes("f", attributes(**large))
    with pytest.raises(InvalidRequest, match=r"f.name: is required"):
        check_attributes("f", attributes(**{"": 1}))
    life = Life(search_attributes=attributes(**{f"n{number}": 1 for number in range(60)}))
    patch = attributes(**{f"m{number}": 1 for number in range(60)})
    with pytest.raises(InvalidCommand, match="patch: is 120; the bound is 100"):
        life.work(upsert(1, patch))


def test_requests_are_checked() -> None:
    good = StartWorkflowRequest(workflow_type="t", summary="s", details="d")
    check_start(good)
    for bad in (
        {"search_attributes": attributes(a="x" * 256)},
        {"summary": "x" * 1025},
        {"details": "x" * 20_481},
    ):
        with pytest.raises(LimitExceeded):
            check_start(StartWorkflowRequest(workflow_type="t", **bad))
    memo = Payload(data=b"x" * (PAYLOAD_BYTES_MAX + 1))
    with pytest.raises(PayloadTooLarge, match="memo"):
        check_start(StartWorkflowRequest(workflow_type="t", memo=memo))
    with pytest.raises(LimitExceeded):
        check_list(ListWorkflowsRequest(search_attributes=attributes(a="x" * 256)))
    check_count_workflows(CountWorkflowsRequest())
    with pytest.raises(LimitExceeded, match="namespace"):
        check_count_workflows(CountWorkflowsRequest(namespace="x" * 256))


def test_a_command_without_a_patch_changes_nothing() -> None:
    life = Life()
    command = Command(upsert_search_attributes=UpsertSearchAttributes())
    life.work(command)
    assert life.kinds == ["workflow_started"]
