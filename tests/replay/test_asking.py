"""Updates and queries: what is answered, what is refused, and what only looks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure import query, signal, update, workflow
from perdure._asking import QueryMethod, UpdateMethod, picked
from perdure._workflow import workflow_of
from perdure.errors import (
    ApplicationError,
    DeterminismError,
    PayloadError,
    SnapshotNotFoundError,
)
from perdure.interceptors import WorkflowInterceptor
from perdure.v1.payload_pb2 import Payload
from tests.replay.rig import CONVERTER, Rig, new_machine, replayed
from tests.replay.shop import charge
from tests.replay.workflows import Cart

never = signal("never")


def cart():
    rig = Rig(workflow_of(Cart))
    rig.run()
    return rig


def test_an_update_is_answered_where_it_stands():
    rig = cart()
    assert rig.update("add", "book").update("add", "pen").run() == [
        "complete_update 2 1",
        "complete_update 3 2",
    ]


def test_the_check_refuses_before_anything_is_done():
    rig = cart()
    rig.update("add", "book").update("add", "pen").run()
    assert rig.update("add", "ink").run() == ["reject_update 6 ValueError: no room for ink"]
    assert rig.machine.snapshot() == Payload(data=b'{"size":2}')


def test_a_value_that_it_cannot_take_is_refused():
    (said,) = cart().update("add", 7).run()
    assert said.startswith("reject_update 2 PayloadError")


def test_an_update_that_nothing_takes_is_refused():
    assert cart().update("fly").run() == [
        "reject_update 2 UnknownUpdate: the workflow takes no update 'fly'"
    ]


def test_an_update_may_wait_and_the_workflow_for_it():
    rig = cart()
    assert rig.update("pay").run() == ["schedule_activity 1 charge"]
    assert rig.complete(1, "ok").run() == ['complete_update 2 "ok"', "complete_workflow []"]


def test_an_update_that_fails_does_not_fail_the_workflow():
    rig = cart()
    rig.update("pay").run()
    (said,) = rig.fail(1, "declined").run()
    assert said.startswith("reject_update 2 ActivityError")


def test_an_update_after_the_end_is_left_alone():
    rig = cart()
    rig.update("pay").run()
    rig.complete(1, "ok").update("add", "late")
    assert rig.run() == ['complete_update 2 "ok"', "complete_workflow []"]


def test_an_update_that_is_cancelled_from_within_is_refused():
    @workflow
    async def code() -> None:
        async def leave() -> None:
            raise asyncio.CancelledError("by itself")

        workflow.on_update("leave", leave)
        await never.wait()

    rig = Rig(code)
    rig.run()
    (said,) = rig.update("leave").run()
    assert said.startswith("reject_update 3 ")


def test_functions_take_updates_and_answer_queries():
    @workflow
    async def code() -> int:
        total = 0

        def add(amount: int) -> int:
            nonlocal total
            total += amount
            return total

        def check(amount: int) -> None:
            if amount < 0:
                raise ValueError("negative")

        workflow.on_update("add", add, check=check)
        workflow.on_query("total", lambda: total)
        await workflow.wait_condition(lambda: total > 5)
        return total

    rig = Rig(code)
    rig.run()
    assert rig.machine.snapshot() == Payload(data=b'{"total":0}')
    assert rig.machine.snapshot() is None
    assert rig.update("add", -1).run() == ["reject_update 2 ValueError: negative"]
    assert rig.machine.snapshot() is None
    assert rig.update("add", 6).run() == ["complete_update 4 6", "complete_workflow 6"]
    assert rig.machine.snapshot() == Payload(data=b'{"total":6}')


def test_what_only_looks_asks_for_nothing(caplog):
    @workflow
    class Curious:
        async def run(self) -> None:
            await never.wait()

        @update(name="look")
        def look_at(self) -> None:
            raise AssertionError

        @look_at.validator
        def check(self) -> None:
            workflow.upsert_search_attributes({})
            asyncio.get_running_loop().call_later(1, print)

        @query(name="bad")
        def is_bad(self) -> str:
            raise ValueError("no")

        @query
        def good(self) -> str:
            return "yes"

    rig = Rig(workflow_of(Curious))
    rig.run()
    (said,) = rig.update("look").run()
    assert said.startswith("reject_update 3 RuntimeError: queries and checks of updates only look")
    assert rig.machine.snapshot() == Payload(data=b'{"good":"yes"}')
    assert "query 'bad' of workflow w-1 (run r-1) raised ValueError" in caplog.text


def test_a_value_that_is_not_json_is_left_out():
    @workflow
    async def code() -> None:
        workflow.on_query("bytes", lambda: b"x")
        await never.wait()

    rig = Rig(code)
    rig.run()
    assert rig.machine.snapshot() is None


def test_code_without_queries_publishes_nothing():
    @workflow
    async def code() -> None:
        await never.wait()

    rig = Rig(code)
    rig.run()
    assert rig.machine.snapshot() is None


def test_code_that_no_longer_answers_does_not_fit():
    rig = cart()
    rig.update("add", "book").run()

    @workflow(name="Cart")
    class Slow(Cart):
        @update
        async def add(self, thing: str) -> int:
            await charge(thing)
            return 1

    with pytest.raises(DeterminismError, match=r"UpdateCompleted 2"):
        replayed(workflow_of(Slow), rig.events)


def test_an_answer_that_is_owed_is_named():
    rig = cart()
    rig.update("add", "book").run()
    rig.update("fly").run()

    @workflow(name="Cart")
    class Kind(Cart):
        @update
        def fly(self) -> str:
            return "high"

    with pytest.raises(DeterminismError, match=r"CompleteUpdate 4 \(fly\)"):
        replayed(workflow_of(Kind), rig.events)

    @workflow(name="Cart")
    class Unkind(Cart):
        @update
        def add(self, thing: str) -> int:
            raise ValueError(thing)

    with pytest.raises(DeterminismError, match=r"RejectUpdate 2 \(add\)"):
        replayed(workflow_of(Unkind), rig.events)


def test_interceptors_stand_around_updates():
    class Doubling(WorkflowInterceptor):
        async def handle_update(self, call, proceed):
            call.arguments = tuple(2 * each for each in call.arguments)
            return await proceed(call)

    rig = Rig(workflow_of(Cart))
    rig.machine = new_machine(workflow_of(Cart), interceptors=(Doubling(),))
    rig.run()
    rig.update("add", "x").run()
    (only,) = rig.machine._instance.things
    assert only == "xx"


def played(events, **changes):
    machine = new_machine(workflow_of(Cart), **changes)
    machine.run_task(events)
    return machine


def asked(machine, name, text=None):
    payload = None if text is None else Payload(data=text.encode())
    return machine.query(name, payload).data


def test_a_query_is_answered_from_the_state_of_the_code():
    rig = cart()
    assert asked(rig.machine, "size") == b"0"
    rig.update("add", "book").run()
    assert asked(rig.machine, "size") == b"1"
    assert asked(rig.machine, "has", '"book"') == b"true"
    # One that needs a value has no place in a snapshot.
    assert rig.machine.snapshot() == Payload(data=b'{"size":1}')
    with pytest.raises(PayloadError):
        asked(rig.machine, "has", "7")
    with pytest.raises(PayloadError):
        asked(rig.machine, "size", "7")
    with pytest.raises(ApplicationError, match="answers no query 'weight'") as refusal:
        asked(rig.machine, "weight")
    assert refusal.value.type == "UnknownQuery"


def test_queries_that_all_need_a_value_make_no_snapshot():
    @workflow
    async def code() -> None:
        workflow.on_query("echo", lambda value: value)
        await never.wait()

    rig = Rig(code)
    rig.run()
    assert rig.machine.snapshot() is None


def test_a_query_asks_for_nothing_and_leaves_no_trace():
    @workflow
    class Greedy:
        async def run(self) -> float:
            await never.wait()
            return workflow.random().random()

        @query
        def do(self, what: str) -> object:
            return {
                "command": lambda: workflow.upsert_search_attributes({"amount": 1}),
                "chance": workflow.random,
                "task": lambda: asyncio.create_task(never.wait()),
                "coroutine": never.wait,
                "awaitable": lambda: asyncio.get_running_loop().create_future(),
            }[what]()

    rig, quiet = Rig(workflow_of(Greedy)), Rig(workflow_of(Greedy))
    assert rig.run() == quiet.run()
    for what in ("command", "chance", "task"):
        with pytest.raises(RuntimeError, match="only look"):
            asked(rig.machine, "do", f'"{what}"')
    for what in ("coroutine", "awaitable"):
        with pytest.raises(TypeError, match="only looks"):
            asked(rig.machine, "do", f'"{what}"')
    assert rig.signal("never").run() == quiet.signal("never").run()


@workflow
class Careless:
    """Everything that a query must not do, by a name for each."""

    def __init__(self) -> None:
        self.count = 1000
        self.counts = {"a": [1]}
        self.woken = asyncio.Event()
        self.child: Any = None

    async def run(self) -> str:
        self.child = workflow.start_child("child")
        await self.woken.wait()
        return await self.child.result()

    def do(self, what: str) -> object:
        return {
            "nothing": lambda: None,
            "the same": lambda: setattr(self, "count", 500 + 500),
            "bind": lambda: setattr(self, "count", self.count + 1),
            "new": lambda: setattr(self, "added", 1),
            "delete": lambda: delattr(self, "count"),
            "deep": lambda: self.counts["a"].append(2),
            "wake": self.woken.set,
            "effect": lambda: workflow.side_effect(lambda: 1),
            "patch": lambda: workflow.patched("p"),
            "child": lambda: workflow.start_child("child"),
            "cancel child": lambda: self.child.cancel("no"),
            "signal": never.receive_nowait,
            "activity": lambda: charge("o").close(),
            "step": lambda: workflow.step(print).close(),
            "update": lambda: workflow.on_update("u", print),
            "query": lambda: workflow.on_query("q", print),
            "continue": workflow.continue_as_new,
        }[what]()

    @query
    def ask(self, what: str) -> None:
        self.do(what)

    @update
    def check_only(self, what: str) -> str:
        return what

    @check_only.validator
    def check(self, what: str) -> None:
        self.do(what)


CHANGES = {
    "bind": "self.count",
    "new": "self.added",
    "delete": "self.count",
    "deep": "self.counts",
    "wake": "self.woken",
}
COMMANDS = [
    "effect",
    "patch",
    "child",
    "cancel child",
    "signal",
    "activity",
    "step",
    "update",
    "query",
    "continue",
]


@pytest.mark.parametrize("what", CHANGES)
def test_a_query_that_changes_the_state_is_caught_and_spoils_the_run(what):
    rig = Rig(workflow_of(Careless))
    rig.run()
    with pytest.raises(RuntimeError, match=f"the query 'ask' changed {CHANGES[what]}"):
        asked(rig.machine, "ask", f'"{what}"')
    assert rig.machine.dropped
    assert asked(played_as(Careless, rig.events), "ask", '"nothing"') == b"null"


@pytest.mark.parametrize("what", COMMANDS)
def test_a_query_that_commands_is_refused_without_a_trace(what):
    rig, quiet = Rig(workflow_of(Careless)), Rig(workflow_of(Careless))
    assert rig.run() == quiet.run()
    with pytest.raises(RuntimeError, match="only look"):
        asked(rig.machine, "ask", f'"{what}"')
    assert not rig.machine.dropped
    (said,) = rig.update("check_only", what).run()
    assert said.startswith("reject_update 3 RuntimeError: queries and checks of updates only look")
    run = rig.machine._run
    assert (run.relations._made, run.effects._made, run.effects._patches) == (1, 0, {})
    assert (list(run.desk._takers), list(run.desk._tellers)) == (["check_only"], ["ask"])


@pytest.mark.parametrize("what", CHANGES)
def test_a_check_that_changes_the_state_refuses_the_update(what):
    rig = Rig(workflow_of(Careless))
    rig.run()
    said = rig.update("check_only", what).run()
    assert said[0].startswith(
        f"reject_update 3 StateChangedError: the check of the update 'check_only' changed "
        f"{CHANGES[what]}"
    )
    assert replayed(workflow_of(Careless), rig.events) == []
    assert not rig.machine.dropped


def test_a_check_may_leave_things_as_they_were():
    rig = Rig(workflow_of(Careless))
    rig.run()
    assert rig.update("check_only", "nothing").run() == ['complete_update 3 "nothing"']
    assert rig.update("check_only", "the same").run() == ['complete_update 5 "the same"']


def test_what_a_query_wakes_is_a_change_too():
    @workflow
    async def code() -> None:
        woken: list[asyncio.Future[None]] = [asyncio.get_running_loop().create_future()]
        workflow.on_query("wake", lambda _: woken[0].set_result(None))
        await woken[0]

    rig = Rig(code)
    assert rig.run() == []
    with pytest.raises(RuntimeError, match="changed what other code waits for"):
        asked(rig.machine, "wake", "0")
    assert rig.machine.dropped


def test_a_snapshot_that_changes_the_state_is_left_out(caplog):
    @workflow
    async def code() -> None:
        asked_for = 0

        def count() -> int:
            nonlocal asked_for
            asked_for += 1
            raise ValueError(asked_for)

        workflow.on_query("count", count)
        workflow.on_query("other", lambda: 1)
        await never.wait()

    rig = Rig(code)
    rig.run()
    assert rig.machine.snapshot() is None
    assert rig.machine.dropped
    assert "one of the queries count, other changed asked_for" in caplog.text
    # It failed by itself as well; what it changed is told first.
    with pytest.raises(RuntimeError, match="changed asked_for") as refusal:
        played_as(code, rig.events).query("count", None)
    assert isinstance(refusal.value.__cause__, ValueError)


def played_as(definition, events):
    machine = new_machine(workflow_of(definition))
    machine.run_task(events)
    return machine


def test_a_query_of_a_run_that_has_ended_or_was_dropped():
    rig = cart()
    rig.update("pay").run()
    rig.complete(1, "ok").run()
    assert rig.machine.closed
    assert asked(rig.machine, "size") == b"0"
    machine = played(rig.events)
    assert asked(machine, "size") == b"0"
    assert not machine.dropped
    machine.forsake()
    with pytest.raises(RuntimeError, match="dropped"):
        asked(machine, "size")
    rig.machine.close()
    assert rig.machine.dropped


def test_interceptors_stand_around_queries():
    class Doubling(WorkflowInterceptor):
        def handle_query(self, call, proceed):
            return 2 * proceed(call) if call.name == "size" else super().handle_query(call, proceed)

    machine = played(cart().update("add", "x").events, interceptors=(Doubling(),))
    assert (asked(machine, "size"), asked(machine, "has", '"x"')) == (b"2", b"true")


def test_references_stand_on_the_class():
    assert isinstance(Cart.add, UpdateMethod)
    assert isinstance(Cart.size, QueryMethod)
    one = Cart()
    assert (one.add("book"), one.size()) == (1, 1)
    with pytest.raises(TypeError, match="a query only looks"):

        class Odd:
            @query
            async def ask(self) -> None:
                """Waits, which a query must not."""


def test_a_value_is_picked_from_a_snapshot():
    state = Payload(data=b'{"a": 1.50, "b": [1]}')
    assert CONVERTER.decode(picked(state, "b"), list[int]) == [1]
    assert picked(state, "a").data == b"1.50"
    for bad in (state, Payload(data=b"[1]")):
        with pytest.raises(SnapshotNotFoundError):
            picked(bad, "c")
