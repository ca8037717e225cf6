"""One call runs a workflow: in the process, on a file, at a server; and the examples."""

from __future__ import annotations

import asyncio
import runpy
import sys
from pathlib import Path

import pytest

from perdure import WorkflowAlreadyExistsError, WorkflowFailedError, activity, run, workflow
from perdure.client import Client

EXAMPLES = Path(__file__).parents[2] / "clients/python/examples/features"


@activity(task_queue="other")
async def double(number: int) -> int:
    return 2 * number


@workflow
async def doubles(number: int) -> int:
    return await double(number)


@workflow
async def nothing() -> None: ...


@workflow(task_queue="shop")
class Fails:
    async def run(self, why: str) -> None:
        raise ValueError(why)


def test_in_the_process_and_gone_afterwards():
    assert run(doubles, 4, activities=[double]) == 8
    assert run(nothing, workflows=[Fails]) is None


def test_begun_again_it_returns_what_it_has(tmp_path):
    path, calls = tmp_path / "app.db", []

    @activity(name="double", task_queue="other")
    async def noted(number: int) -> int:
        calls.append(number)
        return 2 * number

    for _ in range(2):
        assert run(doubles, 4, activities=[noted], path=path, id="w-1") == 8
    assert calls == [4]
    with pytest.raises(WorkflowAlreadyExistsError):
        run(doubles, 4, path=path, id="w-1", reuse_policy="reject_duplicate")


def test_another_end_is_an_error():
    with pytest.raises(WorkflowFailedError, match="no reason"):
        run(Fails, "no reason")


def test_what_it_does_not_take():
    with pytest.raises(TypeError, match="known options"):
        run(nothing, idd="w-1")
    with pytest.raises(TypeError, match="path or a target"):
        run(nothing, path="app.db", target="localhost:7766")


async def test_at_a_server(address):
    places = {"activities": [double], "target": address}
    assert await asyncio.to_thread(run, doubles, 4, id="w", **places) == 8
    async with Client.connect(address) as client:
        assert await client.get_handle("w", workflow=doubles).result() == 8


SAID = {
    "basket": ["with a pen: True", "Ada paid 200 for a book, a pen"],
    "codecs": [
        "60000 characters",
        "workflow w failed: ValueError: too loud: hello",
        "signed/hmac-sha256, under 1000 bytes: True",
        "workflow w failed: ValueError: the text is sealed",
    ],
    "operators": [
        "attempt 2 waits: the bank is closed",
        "charged o-1, attempt 1",
        "['activity_options_updated', 'activity_reset', 'activity_unpaused']",
    ],
    "progress": [
        "pages 3 to 9 in attempt 2",
        "stopped waiting: CANCEL_REQUESTED",
        "cancelled",
    ],
    "effects": [
        "the same token: True",
        "1 token was made for dear ada",
        "recorded: 2",
    ],
    "found": [
        "order-bob {'cents': 99, 'customer': 'bob', 'stage': 'shipped'}",
        "['order-ada', 'order-cyd', 'order-bob']",
        "2",
        "{'shipped': 2, 'under review': 1}",
        "column 8",
    ],
    "starts": [
        "packed o-1",
        "packed o-2",
        "refused: WORKFLOW_ALREADY_EXISTS",
        "packed o-3 - A parcel",
        "delivered o-4 at attempt 3",
        "took too long",
    ],
    "updates": [
        "1",
        "2",
        "2",
        "refused: nothing has no place in a cart",
        *["['a book', 'a pen']"] * 3,
    ],
    "year": ["12 receipts, the last one: month 12 paid", "360 days"],
    "again": [
        "reserves o-1",
        "failed: ActivityError: activity charge failed on attempt 1: ApplicationError: closed",
        "charged o-1",
        "reserves o-1",
        "charged o-1",
    ],
    "nightly": [
        "March 28, 01:30",
        "March 29, 01:00",
        "March 30, 00:30",
        "hamburg: 7 orders",
        "berlin: 6 orders",
        "7 nights STARTED",
        "7 nights RAN_BEFORE",
    ],
    "pages": ["PAUSED", "6"],
    "resources": ["2 lines, closing the book", "['42.00 EUR', '0.99 EUR']"],
    "script": ["loading page 1", "loading page 2", "loading page 3", "60"],
    "steps": ["cup.label", "plate.label", "not insured, ValueError"],
    "tenants": [
        "bill begins for ada",
        "archive begins for ada",
        "ada owes 4200, archived by ada",
    ],
    "waiting": [
        *(f"page {number}" for number in range(1, 10)),
        "gave up after a durable timeout",
        "the block was cancelled: True",
    ],
}


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAID)


@pytest.mark.parametrize("name", SAID)
def test_an_example_says_what_it_should(name, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", [name, str(tmp_path / "app.db")])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert capsys.readouterr().out.splitlines() == SAID[name]


def test_the_script_needs_no_file(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script"])
    runpy.run_path(str(EXAMPLES / "script.py"), run_name="__main__")
    assert capsys.readouterr().out.splitlines() == SAID["script"]


def test_the_script_does_not_repeat_its_steps(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["script", str(tmp_path / "app.db")])
    for said in (SAID["script"], ["60"]):
        runpy.run_path(str(EXAMPLES / "script.py"), run_name="__main__")
        assert capsys.readouterr().out.splitlines() == said
