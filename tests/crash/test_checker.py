"""The judge of the tests with three servers: it explains what can be, and nothing else.

Instants are small numbers: what is asked at 1 and answered at 4 may have happened at 1, 2, 3 or 4.
"""

from __future__ import annotations

import pytest

from tests.support.linear import UNKNOWN, Operation, Undecided, explain, judge
from tests.support.linear_workflow import Call, WorkflowModel, WorkflowView

NOT_FOUND = ("refused", "WORKFLOW_NOT_FOUND")
EXISTS = ("refused", "WORKFLOW_ALREADY_EXISTS")
CLOSED = ("refused", "WORKFLOW_CLOSED")
STALE = ("refused", "STALE_TASK")
STARTED = ("started", "a", "PENDING", True)
SIGNAL = Call("signal", tag="x")
GET = Call("get")


def start(conflict="FAIL", reuse="REJECT_DUPLICATE", **fields):
    return Call("start", conflict=conflict, reuse=reuse, **fields)


def shown(run_id="a", status="PENDING", length=1, result=""):
    return ("run", run_id, status, length, result)


def lease(number, run_id="a"):
    return Call("lease", run_id, lease=number)


def complete(number, tag="result"):
    return Call("complete", "a", tag=tag, lease=number)


def one_by_one(*answers):
    """What a caller asked, each after the answer before."""
    return [
        Operation(call, answer, 2 * number, 2 * number + 1)
        for number, (call, answer) in enumerate(answers)
    ]


def together(*answers):
    """What callers asked at the same time."""
    return [Operation(call, answer, 0, 9) for call, answer in answers]


def can_be(history):
    return judge(WorkflowModel(), WorkflowView(), history).is_linearizable


POSSIBLE = {
    "a life": one_by_one(
        (SIGNAL, NOT_FOUND),
        (start(), STARTED),
        (SIGNAL, ("recorded", 2)),
        (GET, shown(length=2)),
        (lease(1), ("leased", "a")),
        (complete(1, "wait"), ("accepted",)),
        (Call("cancel"), ("cancelling", "RUNNING")),
        (Call("cancel"), ("cancelling", "RUNNING")),
        (lease(2), ("leased", "a")),
        (complete(2), ("accepted",)),
        (complete(2), ("accepted",)),
        (complete(1), STALE),
        (SIGNAL, CLOSED),
        (Call("cancel"), NOT_FOUND),
        (Call("result"), ("closed", "a", "COMPLETED", "result")),
        (start(reuse="ALLOW_DUPLICATE_FAILED_ONLY"), EXISTS),
        (start(reuse="ALLOW_DUPLICATE"), ("started", "b", "PENDING", True)),
        (start("USE_EXISTING"), ("started", "b", "PENDING", False)),
        (start("TERMINATE_EXISTING"), ("started", "c", "PENDING", True)),
        (Call("terminate", "c"), ("terminated",)),
        (GET, shown("c", "TERMINATED", 2)),
    ),
    "a run that is cancelled before its code has run": one_by_one(
        (start(), STARTED),
        (Call("cancel"), ("cancelling", "CANCELLED")),
        (GET, shown(status="CANCELLED", length=3)),
    ),
    "a read beside a write": together((start(), STARTED), (GET, NOT_FOUND)),
    "two starts, one winner": together((start(), STARTED), (start(), EXISTS)),
    "a request repeated, also when its run has closed": one_by_one(
        (start(request_id="r"), STARTED),
        (Call("terminate", request_id="r"), ("terminated",)),
        (Call("terminate", request_id="r"), ("terminated",)),
        (start(request_id="r"), STARTED),
        (start(request_id="r", tag="other"), ("refused", "REQUEST_ID_REUSED")),
    ),
    "a start of unknown outcome that happened": [
        Operation(start(), UNKNOWN, 0, 1),
        Operation(GET, NOT_FOUND, 2, 3),
        Operation(GET, shown(), 4, 5),
    ],
    "one that did not": one_by_one((start(), UNKNOWN), (GET, NOT_FOUND)),
    "an end found in two looks": [
        Operation(start(), STARTED, 0, 1),
        Operation(Call("find"), ("found", "a"), 2, 9),
        Operation(Call("result", "a"), ("closed", "a", "TERMINATED", ""), 2, 9, after=1),
        Operation(start("TERMINATE_EXISTING"), ("started", "b", "PENDING", True), 3, 4),
    ],
    "a lease that ran out": one_by_one(
        (start(), STARTED),
        (lease(1), ("leased", "a")),
        (Call("lease", "a", lease=2, is_late=True), ("leased", "a")),
        (Call("complete", "a", lease=2, is_late=True), STALE),
    ),
}

IMPOSSIBLE = {
    "a lost start": one_by_one((start(), STARTED), (GET, NOT_FOUND)),
    "a stale read": one_by_one(
        (start(), STARTED), (SIGNAL, ("recorded", 2)), (GET, shown(length=1))
    ),
    "a signal accepted after the end": one_by_one(
        (start(), STARTED), (Call("terminate"), ("terminated",)), (SIGNAL, ("recorded", 3))
    ),
    "a signal refused before the end": one_by_one(
        (start(), STARTED), (SIGNAL, CLOSED), (Call("terminate"), ("terminated",))
    ),
    "two winners of a start": together(
        (start(), STARTED), (start(), ("started", "b", *STARTED[2:]))
    ),
    "two signals in one place": together(
        (start(), STARTED), (SIGNAL, ("recorded", 2)), (SIGNAL, ("recorded", 2))
    ),
    "a signal that is not in the history": one_by_one(
        (start(), STARTED),
        (SIGNAL, ("recorded", 2)),
        (Call("history", "a"), ("history", "a", ("workflow_started",))),
    ),
    "two ends": one_by_one(
        (start(), STARTED),
        (Call("terminate"), ("terminated",)),
        (Call("terminate"), ("terminated",)),
    ),
    "an end that changes": one_by_one(
        (start(), STARTED),
        (Call("cancel"), ("cancelling", "CANCELLED")),
        (Call("result"), ("closed", "a", "TERMINATED", "")),
    ),
    "a request that counts twice": one_by_one(
        (start(), STARTED),
        (Call("signal", request_id="r"), ("recorded", 2)),
        (Call("signal", request_id="r"), ("recorded", 3)),
    ),
    "two holders of a task": one_by_one(
        (start(), STARTED), (lease(1), ("leased", "a")), (lease(2), ("leased", "a"))
    ),
    "a report with an old lease": one_by_one(
        (start(), STARTED),
        (lease(1), ("leased", "a")),
        (complete(1, "wait"), ("accepted",)),
        (lease(2), ("leased", "a")),
        (complete(2, "wait"), ("accepted",)),
        (complete(1), ("accepted",)),
    ),
    "a replacement that nobody asked for": one_by_one(
        (start(), STARTED), (start("USE_EXISTING"), ("started", "b", "PENDING", False))
    ),
    "an unknown start before it was sent": [
        Operation(GET, shown(), 0, 1),
        Operation(start(), UNKNOWN, 2, 3),
    ],
    "an unknown start that happened twice": one_by_one(
        (start(reuse="ALLOW_DUPLICATE"), UNKNOWN),
        (GET, shown()),
        (Call("terminate"), ("terminated",)),
        (GET, shown("b")),
    ),
    "a run that was never the latest": [
        Operation(start(), STARTED, 0, 1),
        Operation(start("TERMINATE_EXISTING"), ("started", "b", "PENDING", True), 2, 3),
        Operation(Call("find"), ("found", "a"), 4, 5),
        Operation(Call("result", "a"), ("closed", "a", "TERMINATED", ""), 4, 5, after=2),
    ],
    "what one caller sees and the next does not": [
        Operation(start(), STARTED, 0, 9),
        Operation(GET, shown(), 1, 2),
        Operation(GET, NOT_FOUND, 3, 4),
    ],
}


@pytest.mark.parametrize("name", POSSIBLE)
def test_what_can_be_is_explained(name):
    assert can_be(POSSIBLE[name])


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_is_not(name):
    assert not can_be(IMPOSSIBLE[name])


def test_the_order_that_explains_is_told():
    history = together((SIGNAL, ("recorded", 2)), (start(), STARTED))
    assert judge(WorkflowModel(), WorkflowView(), history).order == [1, 0]


def test_what_could_not_be_explained_is_told():
    history = one_by_one((start(), STARTED), (GET, NOT_FOUND))
    told = explain(judge(WorkflowModel(), WorkflowView(), history), history)
    placed, left = told.split("left")
    assert "kind=start" in placed
    assert "kind=get" in left


def test_a_history_without_an_operation_can_be():
    assert can_be([])


class Wild:
    """Nothing is ever the same, and the last answer is wrong."""

    def step(self, state, call, answer):
        return None if call == "last" else (*state, call)


def test_the_search_is_bounded():
    history = [Operation(number, "", 0, 9) for number in range(20)] + [Operation("last", "", 0, 9)]
    with pytest.raises(Undecided, match="21 operations"):
        judge(Wild(), (), history, tried_max=1_000)
