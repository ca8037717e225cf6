"""Lists and counts by filters and attributes: each answer, and each documented error."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure.v1.search_attributes_pb2 import SearchAttributes
from tests.api.flows import complete_workflow, json_payload, refused, wait_for


def attributes(**values):
    kinds = {str: "keyword", int: "int", float: "double", bool: "bool"}
    return SearchAttributes(
        values={name: {kinds[type(value)]: value} for name, value in values.items()}
    )


def upsert(patch, seq=0):
    return Command(upsert_search_attributes={"seq": seq, "patch": patch})


async def listed(flows, text="", **fields):
    request = pb.ListWorkflowsRequest(filter=text, **fields)
    answer = await flows.call("WorkflowService/ListWorkflows", request)
    return [run.workflow_id for run in answer.workflows]


async def counted(flows, text="", group_by=""):
    request = pb.CountWorkflowsRequest(filter=text, group_by=group_by)
    answer = await flows.call("WorkflowService/CountWorkflows", request)
    groups = [(g.value.keyword or g.value.int or None, g.count) for g in answer.groups]
    return answer.count, groups


@pytest.fixture
async def four(flows):
    """Runs of two teams and one of none."""
    for number, team in enumerate("aab", 1):
        found_by = attributes(team=team, amount=number)
        await flows.start(f"{team}-{number}", search_attributes=found_by)
    await flows.start("none", workflow_type="other")


async def test_a_record_shows_what_its_start_said(flows):
    found_by = attributes(team="a", amount=1)
    notes = {"memo": json_payload('{"by":1}'), "summary": "s", "details": "d"}
    await flows.start(search_attributes=found_by, **notes)
    run = (await flows.get()).workflow
    assert run.search_attributes == found_by
    assert (run.memo.data, run.summary, run.details) == (b'{"by":1}', "s", "d")
    await flows.start("plain")
    plain = (await flows.get("plain")).workflow
    assert not plain.HasField("search_attributes")
    assert not plain.HasField("memo")


async def test_a_list_by_a_filter(flows, four):
    assert await listed(flows) == ["none", "b-3", "a-2", "a-1"]
    assert await listed(flows, "team = 'a'") == ["a-2", "a-1"]
    assert await listed(flows, "team = 'a' AND amount > 1") == ["a-2"]
    assert await listed(flows, "team != 'a'") == ["none", "b-3"]
    assert await listed(flows, "team IS NULL OR amount >= 3.0") == ["none", "b-3"]
    assert await listed(flows, "WorkflowType = 'other' AND StartTime > now() - 1h") == ["none"]
    assert await listed(flows, "created_at > now() + 1h") == []
    assert await listed(flows, "team = 'a'", workflow_type="other") == []
    assert await listed(flows, search_attributes=attributes(team="a", amount=2)) == ["a-2"]


async def test_a_list_in_an_order(flows, four):
    assert await listed(flows, "ORDER BY amount DESC") == ["b-3", "a-2", "a-1", "none"]
    assert await listed(flows, "ORDER BY amount", order_by="id desc") == [
        "none",
        "b-3",
        "a-2",
        "a-1",
    ]


@pytest.mark.parametrize("order", ["amount DESC", "team", "created_at DESC", "run_id", "status"])
async def test_the_pages_of_a_list_in_an_order(flows, four, order):
    whole = await listed(flows, order_by=order)
    found, token = [], ""
    for _ in range(4):
        request = pb.ListWorkflowsRequest(order_by=order, page_size=1, page_token=token)
        page = await flows.call("WorkflowService/ListWorkflows", request)
        found += [run.workflow_id for run in page.workflows]
        token = page.next_page_token
    assert (found, token) == (whole, "")
    assert await listed(flows, order_by=order, offset=2) == whole[2:]


async def test_runs_before_an_instant_come_in_the_order_of_their_beginnings(flows, four):
    text, pages, token = "created_at <= now() + 1h AND team IS NOT NULL", [], ""
    while not pages or token:
        request = pb.ListWorkflowsRequest(filter=text, page_size=1, page_token=token)
        answer = await flows.call("WorkflowService/ListWorkflows", request)
        pages += [run.workflow_id for run in answer.workflows]
        token = answer.next_page_token
    assert pages == await listed(flows, text, order_by="created_at DESC") == ["b-3", "a-2", "a-1"]
    assert await listed(flows, text, offset=1) == ["a-2", "a-1"]
    assert await listed(flows, text, order_by="run_id") == ["a-1", "a-2", "b-3"]


async def test_a_page_token_by_run_id_is_understood_where_lists_are_by_time_now(flows, four):
    by_id = pb.ListWorkflowsRequest(page_size=1)
    token = (await flows.call("WorkflowService/ListWorkflows", by_id)).next_page_token
    assert token.startswith("1:")
    assert await listed(flows, "created_at < now() + 1h", page_token=token) == ["b-3", "a-2", "a-1"]


async def test_a_page_token_belongs_to_its_order(flows, four):
    request = pb.ListWorkflowsRequest(order_by="amount", page_size=1)
    token = (await flows.call("WorkflowService/ListWorkflows", request)).next_page_token
    for other in ("", "amount DESC", "team", "attempt"):
        async with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await listed(flows, order_by=other, page_token=token)
    for bad in (token[:-3], "2:????", "2:AAAA", "1:" + "x" * 300, "1:a\0"):
        async with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await listed(flows, order_by="amount" if bad[0] == "2" else "", page_token=bad)


async def test_counts(flows, four):
    assert await counted(flows) == (4, [])
    assert await counted(flows, "amount > 1") == (2, [])
    assert await counted(flows, group_by="team") == (4, [("a", 2), ("b", 1), (None, 1)])
    assert await counted(flows, "team = 'a'", "status") == (2, [("PENDING", 2)])
    assert await counted(flows, group_by="attempt") == (4, [(1, 4)])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"filter": "team = "}, "filter: column 8: expected a value, found the end"),
        ({"filter": "status = 'x'"}, "filter: column 10: 'x' is no status"),
        ({"filter": "status > 'FAILED'"}, "column 10: 'FAILED' cannot be above or below status"),
        ({"filter": "team = 'a' AND"}, "column 15: expected ( or NOT or a name, found the end"),
        ({"filter": "team = 'a' OR amount"}, "column 21: expected BETWEEN"),
        ({"filter": "team IN ('a',)"}, "column 14: expected a value, found )"),
        ({"filter": "team BETWEEN 1 AND 'b'"}, "column 20: 'b' is of another type"),
        ({"filter": "team = 'it''s"}, "column 12: the quote is not closed"),
        ({"filter": "team\n=\n'a'; DROP TABLE runs"}, "column 11: expected"),
        ({"filter": "team = '\U0001f600' x"}, "column 12: expected"),
        ({"filter": "attempt = 1.5"}, "column 11: 1.5 is not what attempt has: a whole number"),
        ({"filter": "attempt = 9999999999999999999"}, "column 11: 9999999999999999999 is out"),
        ({"filter": "created_at > now() - 1y"}, "column 22: expected a duration"),
        ({"filter": "parent_id = 5"}, "column 13: 5 is not what parent_workflow_id has"),
        ({"filter": "a = 1e999"}, "column 5: inf is out of range"),
        ({"filter": "a = 'x\0'"}, "has a NUL"),
        ({"order_by": "team up"}, "order_by: column 6: expected"),
        ({"order_by": "team, amount"}, "order_by: column 5: expected"),
    ],
)
async def test_a_bad_filter_is_refused_at_its_column(flows, fields, told):
    async with refused("INVALID_ARGUMENT", "INVALID_FILTER", told):
        await flows.call("WorkflowService/ListWorkflows", pb.ListWorkflowsRequest(**fields))


async def test_a_bad_count_is_refused(flows):
    for fields in ({"filter": "team ="}, {"group_by": "a b"}, {"group_by": "1"}):
        async with refused("INVALID_ARGUMENT", "INVALID_FILTER"):
            request = pb.CountWorkflowsRequest(**fields)
            await flows.call("WorkflowService/CountWorkflows", request)
    async with refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED"):
        await counted(flows, "a = '" + "x" * 9_000 + "'")


async def test_a_start_with_bad_attributes_is_refused(flows):
    async with refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED"):
        await flows.start(search_attributes=attributes(team="x" * 256))
    async with refused("INVALID_ARGUMENT", "INVALID_REQUEST"):
        await flows.start(search_attributes=attributes(ratio=float("nan")))
    async with refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED"):
        await flows.start(summary="x" * 2_000)


async def test_the_code_of_a_workflow_changes_what_it_is_found_by(flows):
    await flows.start(search_attributes=attributes(team="a", amount=1))
    task = await flows.poll_workflow_task()
    patch = attributes(team="b")
    patch.values["amount"].SetInParent()
    await flows.complete_workflow_task(task, upsert(patch, 1), wait_for("go"))
    assert await listed(flows, "team = 'b' AND amount IS NULL") == ["w"]
    assert await listed(flows, "team = 'a'") == []
    await flows.signal()
    task = await flows.poll_workflow_task()
    change = upsert(attributes(team="c"), 2)
    await flows.complete_workflow_task(task, change, complete_workflow())
    assert await listed(flows, "team = 'c' AND status = 'COMPLETED'") == ["w"]
    assert (await flows.get()).workflow.search_attributes == attributes(team="c")


async def test_a_change_alone_never_stalls_a_run(flows):
    await flows.start()
    task = await flows.poll_workflow_task()
    await flows.complete_workflow_task(task, upsert(attributes(team="a")))
    task = await flows.poll_workflow_task()
    await flows.complete_workflow_task(task, upsert(attributes(team="a")))
    assert not (await flows.get()).HasField("pending_workflow_task")
    # What changed nothing is not told to the code, which waits for something else.
    async with asyncio.timeout(30):
        await flows.signal()
        await flows.complete_workflow_task(await flows.poll_workflow_task(), complete_workflow())
    history = [event.WhichOneof("event") for event in (await flows.history()).history.events]
    assert history.count("search_attributes_upserted") == 1
