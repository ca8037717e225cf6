"""What workflow code says of itself: the command, the author's words, and values as messages."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from perdure import DeterminismError, SearchAttributeKey, workflow
from perdure._search import from_search_attributes, to_search_attributes
from perdure.v1.search_attributes_pb2 import SearchAttributes
from tests.replay.rig import Rig, new_machine, short

STAGE = SearchAttributeKey.keyword("stage")
DUE = datetime(2026, 3, 29, 1, tzinfo=UTC)


@workflow
async def two_changes() -> dict[str, object]:
    workflow.upsert_search_attributes({STAGE: "a", "count": 1})
    before = workflow.search_attributes()
    workflow.upsert_search_attributes({STAGE: None, "gone": None})
    workflow.upsert_search_attributes({})
    return {"before": before, "after": workflow.search_attributes()}


def test_changes_are_commands_of_their_own_numbers() -> None:
    rig = Rig(two_changes)
    assert [short(command) for command in rig.think()] == [
        "upsert_search_attributes 1",
        "upsert_search_attributes 2",
        'complete_workflow {"before":{"count":1,"stage":"a"},"after":{"count":1}}',
    ]
    first, second, _ = rig.commands
    assert first.upsert_search_attributes.patch == to_search_attributes({STAGE: "a", "count": 1})
    removed = second.upsert_search_attributes.patch.values
    assert {name: value.WhichOneof("value") for name, value in removed.items()} == {
        "stage": None,
        "gone": None,
    }


def test_the_code_knows_those_of_its_start() -> None:
    rig = Rig(two_changes)
    given = to_search_attributes({"team": "x", "count": 7})
    rig.events[0].workflow_started.search_attributes.CopyFrom(given)
    (*_, closing) = rig.run()
    assert closing.endswith(
        '{"before":{"count":1,"stage":"a","team":"x"},"after":{"count":1,"team":"x"}}'
    )


@workflow
async def another_change() -> None:
    workflow.upsert_search_attributes({"other": 1})


def test_a_change_of_other_attributes_is_another_step() -> None:
    rig = Rig(two_changes)
    rig.run()
    with pytest.raises(DeterminismError) as caught:
        new_machine(another_change).run_task(rig.events)
    assert "SearchAttributesUpserted 1" in str(caught.value)
    assert "UpsertSearchAttributes 1 (other)" in str(caught.value)


def test_other_values_of_the_same_attributes_are_the_same_step() -> None:
    rig = Rig(another_change)
    rig.run()
    rig.events[1].search_attributes_upserted.patch.values["other"].int = 9
    assert new_machine(another_change).run_task(rig.events) == []


def test_these_words_belong_to_workflow_code() -> None:
    with pytest.raises(RuntimeError, match="workflow code"):
        workflow.upsert_search_attributes({"a": 1})
    with pytest.raises(RuntimeError, match="workflow code"):
        workflow.search_attributes()


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("a", "x", "keyword"),
        ("a", 1, "int"),
        ("a", 1.5, "double"),
        ("a", True, "bool"),
        ("a", DUE, "datetime"),
        ("a", ["x", "y"], "keyword_list"),
        ("a", ("x",), "keyword_list"),
        (SearchAttributeKey.keyword("a"), "x", "keyword"),
        (SearchAttributeKey.text("a"), "x y", "text"),
        (SearchAttributeKey.int("a"), 1, "int"),
        (SearchAttributeKey.double("a"), 1, "double"),
        (SearchAttributeKey.bool("a"), False, "bool"),
        (SearchAttributeKey.datetime("a"), DUE, "datetime"),
        (SearchAttributeKey.keyword_list("a"), [], "keyword_list"),
    ],
)
def test_a_value_has_the_type_of_its_key_or_of_how_it_looks(key, value, kind) -> None:
    message = to_search_attributes({key: value})
    assert message.values["a"].WhichOneof("value") == kind
    expected = list(value) if kind == "keyword_list" else value
    assert from_search_attributes(message) == {"a": expected}


def test_none_has_no_type() -> None:
    message = to_search_attributes({"a": None})
    assert message.values["a"].WhichOneof("value") is None
    assert from_search_attributes(message) == {"a": None}
    assert from_search_attributes(SearchAttributes()) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("a", {"x": 1}),
        (SearchAttributeKey.keyword("a"), 1),
        (SearchAttributeKey.int("a"), True),
        (SearchAttributeKey.int("a"), 2**63),
        (SearchAttributeKey.int("a"), 1.5),
        (SearchAttributeKey.double("a"), "1"),
        (SearchAttributeKey.bool("a"), 1),
        (SearchAttributeKey.datetime("a"), datetime(2026, 3, 29)),  # noqa: DTZ001
        (SearchAttributeKey.datetime("a"), "2026-03-29"),
        (SearchAttributeKey.keyword_list("a"), "x"),
        (SearchAttributeKey.keyword_list("a"), [1]),
    ],
)
def test_a_value_of_another_type_is_refused(key, value) -> None:
    with pytest.raises(TypeError, match="the search attribute 'a'"):
        to_search_attributes({key: value})
