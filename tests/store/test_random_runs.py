"""Random operations on runs, decided by the core and kept by the model and a backend alike.

What one operation makes of the runs is loaded from both for the next one, so that a difference is
found at the operation that makes it. A failure tells its steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure.v1.failure_pb2 import Failure
from perdure.v1.interaction_pb2 import UpdateWorkflowRequest
from perdure.v1.payload_pb2 import Payload
from perdure.v1.search_attributes_pb2 import SearchAttribute, SearchAttributes
from perdure_server.core import decide
from perdure_server.core.changeset import Changeset
from perdure_server.core.draft import Draft, NextRun
from perdure_server.core.errors import DomainError
from perdure_server.core.frames import parse_frame
from perdure_server.core.limits import SECOND_US
from perdure_server.core.model import EventRow, Lane, Message, Run, TaskKind
from perdure_server.core.run import TASK_ACCEPTED, TASK_WANTED, apply
from perdure_server.core.token import TaskToken
from perdure_server.store.contract import ClaimRequest, Committed, Store
from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.sqlite.store import SqliteStore
from tests.core import life
from tests.support import postgres
from tests.support.histories import CLOSINGS, START_US, a_run, is_external
from tests.support.model_store import ModelStore

Backend = Callable[[], AbstractContextManager[Store]]
LANES = [
    Lane("main", "default", kind, name)
    for kind, name in [
        (TaskKind.WORKFLOW, "checkout"),
        (TaskKind.WORKFLOW, "refund"),
        (TaskKind.ACTIVITY, "charge"),
    ]
]
ENDINGS = {"activity_completed", "activity_failed", "activity_timed_out", "activity_cancelled"}
MUTE = {"upsert_search_attributes", "record_snapshot"}
NUMBERS = st.integers(0, 99)


class Operations(RuleBasedStateMachine):
    """A few workflows, treated as the engine would treat them."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.lent = backend()
        self.stores: list[Store] = [ModelStore(), self.lent.__enter__()]
        for store in self.stores:
            self.runner.run(store.open())
        self.now_us = START_US
        self.made = 0
        self.run_ids: list[str] = []
        self.steps: dict[str, list[tuple[str, int]]] = {}
        self.tokens: list[TaskToken] = []

    def teardown(self) -> None:
        """Looks at everything once more."""
        try:
            for run_id in self.run_ids:
                self.check(run_id)
                self.check_fold(run_id)
        finally:
            for store in self.stores:
                self.runner.run(store.close())
            self.lent.__exit__(None, None, None)
            self.runner.close()

    def ask(self, question: Callable[[Store], Any]) -> Any:
        """Asks both stores; their answers are the same."""
        expected, told = [self.runner.run(question(store)) for store in self.stores]
        assert told == expected
        return expected

    def new_run(self) -> NextRun:
        self.made += 1
        return NextRun(f"run-{self.made:04}", self.made)

    def one_of(self, number: int) -> str:
        return self.run_ids[number % len(self.run_ids)]

    @rule(workflow=st.integers(0, 2), retried=st.booleans())
    def start(self, workflow: int, retried: bool) -> None:
        workflow_id = f"w-{workflow}"
        latest = self.ask(lambda store: store.find_run("main", workflow_id, None))
        state = latest and self.ask(lambda store: store.load_run(latest))
        if state and not state.run.status.is_closed:
            return
        request = pb.StartWorkflowRequest(workflow_type="checkout", workflow_id=workflow_id)
        request.run_timeout.CopyFrom(life.seconds(60))
        if retried:
            request.retry_policy.CopyFrom(life.attempts(2))
        draft = decide.decide_start(
            decide.normalize_start(request),
            new=self.new_run(),
            generation=state.run.generation + 1 if state else 1,
            now_us=self.now_us,
        )
        draft.settle(self.now_us, self.new_run())
        self.commit(draft)

    @precondition(lambda self: self.run_ids)
    @rule(number=NUMBERS, name=st.sampled_from(["go", "stop"]))
    def signal(self, number: int, name: str) -> None:
        request = pb.SignalWorkflowRequest(signal_name=name)
        self.act(
            self.one_of(number), lambda draft: decide.decide_signal(draft, request, self.now_us)
        )

    @precondition(lambda self: self.run_ids)
    @rule(number=NUMBERS, what=st.sampled_from(["cancel", "pause", "pause", "unpause", "unpause"]))
    def call(self, number: int, what: str) -> None:
        request = getattr(pb, f"{what.capitalize()}WorkflowRequest")(reason="why")
        decision = getattr(decide, f"decide_{what}")
        self.act(self.one_of(number), lambda draft: decision(draft, request, self.now_us))

    @precondition(lambda self: self.run_ids)
    @rule(number=NUMBERS, gently=st.booleans())
    def end(self, number: int, gently: bool) -> None:
        """Ends a run from outside, or has another one follow it."""
        if gently:
            request, following = pb.ContinueAsNewRequest(), self.new_run()
            self.act(
                self.one_of(number),
                lambda draft: decide.decide_continue_as_new(
                    draft, request, next_run=following, now_us=self.now_us
                ),
            )
        elif number % 3 == 0:
            self.act(
                self.one_of(number), lambda draft: decide.decide_terminate(draft, "", self.now_us)
            )

    @precondition(lambda self: self.run_ids)
    @rule(number=NUMBERS, name=st.sampled_from(["add", "remove"]))
    def update(self, number: int, name: str) -> None:
        request = UpdateWorkflowRequest(update_name=name)
        self.act(
            self.one_of(number), lambda draft: decide.decide_update(draft, request, self.now_us)
        )

    @rule(limit=st.integers(1, 3), poll_us=st.sampled_from([None, 5 * SECOND_US]))
    def claim(self, limit: int, poll_us: int | None) -> None:
        self.claim_now(limit, poll_us)

    def claim_now(self, limit: int, poll_us: int | None) -> None:
        claims = [ClaimRequest(lane, limit, "session", "ann", poll_us) for lane in LANES]
        lanes = self.ask(lambda store: store.claim_tasks(claims, self.now_us))
        for task in [task for tasks in lanes for task in tasks]:
            state = self.ask(lambda store, run_id=task.run_id: store.load_run(run_id))
            seen_seq = state.run.history_length
            self.tokens.append(
                TaskToken(
                    task.run_id,
                    task.kind,
                    task.seq,
                    task.attempt,
                    lease=task.lease,
                    seen_seq=seen_seq,
                )
            )

    @precondition(lambda self: self.run_ids)
    @rule(number=NUMBERS, kinds=st.lists(st.integers(0, 11), max_size=5))
    def work(self, number: int, kinds: list[int]) -> None:
        """Takes what is ready and tells what became of one of it."""
        self.claim_now(3, None)
        if self.tokens:
            self.tell(self.tokens.pop(number % len(self.tokens)), number, kinds)

    @precondition(lambda self: self.tokens)
    @rule(number=NUMBERS, kinds=st.lists(st.integers(0, 11), max_size=5), again=st.booleans())
    def report(self, number: int, kinds: list[int], again: bool) -> None:
        """Tells what became of a task; now and then twice."""
        token = self.tokens[number % len(self.tokens)]
        if not again:
            self.tokens.remove(token)
        self.tell(token, number, kinds)

    def tell(self, token: TaskToken, number: int, kinds: list[int]) -> None:
        if token.kind is TaskKind.WORKFLOW:
            self.report_workflow(token, kinds)
        elif number % 2:
            self.act(
                token.run_id,
                lambda draft: decide.decide_activity_completed(
                    draft, token, Payload(data=b"1"), self.now_us
                ),
            )
        else:
            self.act(
                token.run_id,
                lambda draft: decide.decide_activity_failed(
                    draft, token, Failure(message="no"), self.now_us
                ),
            )

    def report_workflow(self, token: TaskToken, kinds: list[int]) -> None:
        state = self.ask(lambda store: store.load_run(token.run_id))
        commands = commands_of(state.run, kinds)
        frames = {row.seq: row.frame for row in self.history(token.run_id)}
        next_run, new_runs = self.new_run(), [self.new_run() for _ in kinds]

        def decision(draft: Draft) -> None:
            seen = draft.run.seen_seq
            decide.decide_commands(
                draft,
                token,
                commands,
                next_run=next_run,
                new_runs=new_runs,
                frames=frames,
                now_us=self.now_us,
            )
            if draft.run.seen_seq != seen:
                self.steps[token.run_id].append((TASK_ACCEPTED, token.seen_seq))

        draft = self.act(token.run_id, decision)
        named = {command.WhichOneof("command") for command in commands}
        if draft is not None and draft.events and named <= MUTE:
            self.steps[token.run_id].append((TASK_WANTED, draft.run.history_length))

    @precondition(lambda self: self.tokens)
    @rule(number=NUMBERS, delivered=st.booleans())
    def lose(self, number: int, delivered: bool) -> None:
        token = self.tokens.pop(number % len(self.tokens))
        self.act(
            token.run_id,
            lambda draft: decide.decide_task_lost(
                draft,
                token.kind,
                token.seq,
                token.lease,
                delivered=delivered,
                now_us=self.now_us,
            ),
        )

    @rule(seconds=st.integers(1, 20))
    def wait(self, seconds: int) -> None:
        """Lets time pass; what is then due happens."""
        self.now_us += seconds * SECOND_US
        for timer in self.ask(lambda store: store.due_timers(after=None, limit=5)):
            following = self.new_run()
            self.act(
                timer.run_id,
                lambda draft, timer=timer, following=following: decide.decide_timer_due(
                    draft, timer, next_run=following, now_us=self.now_us
                ),
            )

    @rule()
    def deliver(self) -> None:
        """Hands over the messages that stand."""
        before_us = self.now_us + 1
        for message in self.ask(
            lambda store: store.read_inbox(after=None, before_us=before_us, limit=9)
        ):
            self.deliver_one(message)

    def deliver_one(self, message: Message) -> None:
        run_id = self.ask(
            lambda store: store.find_run("main", message.workflow_id, message.run_id or None)
        )
        run_id = run_id or (message.run_id if message.run_id in self.run_ids else None)
        told = run_id and self.act(
            run_id,
            lambda draft: decide.decide_message(draft, message, self.now_us),
            taken=message,
        )
        if not told:
            self.act(
                message.sender_run_id,
                lambda draft: decide.decide_message_returned(draft, message, "no", self.now_us),
                taken=message,
            )

    def act(
        self,
        run_id: str,
        decision: Callable[[Draft], Any],
        *,
        taken: Message | None = None,
    ) -> Draft | None:
        """Decides and commits; a refusal changes nothing. Terminal is terminal."""
        state = self.ask(lambda store: store.load_run(run_id))
        was_closed, length = state.run.status.is_closed, state.run.history_length
        steps = len(self.steps[run_id])
        draft = Draft(state)
        trial = draft.fork()
        try:
            decision(trial)
        except DomainError:
            del self.steps[run_id][steps:]
            return None
        draft.absorb(trial)
        draft.settle(self.now_us, self.new_run())
        assert not (was_closed and draft.run.history_length != length)
        self.commit(draft, taken)
        return draft

    def commit(self, draft: Draft, taken: Message | None = None) -> None:
        drafts = [each for each in (draft, *draft.next_runs) if each.changed]
        changes = [each.change() for each in drafts]
        keys = [taken.key] if taken else []
        if not changes and not keys:
            return
        changeset = Changeset(changes, taken=keys)
        outcomes = [self.runner.run(store.commit([changeset]))[0] for store in self.stores]
        assert all(isinstance(outcome, Committed) for outcome in outcomes), outcomes
        for change in changes:
            run_id = change.run.run_id
            if change.expected_version == 0:
                self.run_ids.append(run_id)
            steps = self.steps.setdefault(run_id, [])
            steps += [(row.kind, row.seq) for row in change.events]
            self.check(run_id)

    def history(self, run_id: str) -> list[EventRow]:
        rows: list[EventRow] = self.ask(
            lambda store: store.load_history(run_id, after_seq=0, limit=10_000, max_bytes=10**9)
        )
        return rows

    def check(self, run_id: str) -> None:
        """What holds for every run at any time."""
        state = self.ask(lambda store: store.load_run(run_id))
        self.ask(lambda store: store.find_snapshot(run_id))
        rows, run = self.history(run_id), state.run
        assert [row.seq for row in rows] == list(range(1, run.history_length + 1))
        closings = [row.seq for row in rows if row.kind in CLOSINGS]
        assert closings == ([run.history_length] if run.status.is_closed else [])
        ended = [
            getattr(parse_frame(row.frame), row.kind).activity_seq
            for row in rows
            if row.kind in ENDINGS
        ]
        assert len(ended) == len(set(ended))

    def check_fold(self, run_id: str) -> None:
        state = self.ask(lambda store: store.load_run(run_id))
        fold_is_state(self.steps[run_id], self.history(run_id), state.run)


def commands_of(run: Run, kinds: list[int]) -> list[Command]:
    """Returns the commands that code would ask for next, one of each kind."""
    made: dict[int, Command] = {}
    attributes = SearchAttributes(values={"size": SearchAttribute(int=len(kinds))})
    for kind in kinds:
        made[kind] = [
            life.schedule(run.activity_seq_max + 1, options=life.options(start_to_close=9)),
            life.timer(run.timer_seq_max + 1, 5),
            life.await_signal(run.wait_seq_max + 1),
            life.upsert(run.attribute_seq_max + 1, attributes),
            life.record_snapshot(bytes([run.history_length % 256])),
            life.start_child(run.child_seq_max + 1, ""),
            life.send_signal(run.signal_seq_max + 1, "w-1"),
            life.send_cancel(run.cancel_seq_max + 1, "w-2"),
            life.cancel_timer(max(run.timer_seq_max, 1)),
            life.cancel_activity(max(run.activity_seq_max, 1)),
            life.complete(),
            life.go_on(),
        ][kind]
    return [made[kind] for kind in sorted(made)][: 9 if len(kinds) % 2 else None]


def fold_is_state(steps: list[tuple[str, int]], rows: list[EventRow], stored: Run) -> None:
    """The tables, fed with the history, lead to the state that the decisions led to."""
    run = a_run()
    for kind, seq in steps:
        row = rows[seq - 1]
        if kind in {TASK_ACCEPTED, TASK_WANTED}:
            apply(run, kind, seq, at_us=START_US)
        else:
            size, external = len(row.frame), is_external(row)
            apply(run, kind, seq, at_us=row.at_us, size=size, external=external)
    for name in ("status", "history_length", "history_bytes", "seen_seq", "stimulus_seq"):
        assert getattr(run, name) == getattr(stored, name), name
    assert run.closed_at_us == stored.closed_at_us


@pytest.fixture
def sqlite_backend() -> Backend:
    @contextmanager
    def lend() -> Iterator[Store]:
        with TemporaryDirectory() as folder:
            yield SqliteStore(Path(folder) / "perdure.db")

    return lend


@pytest.fixture
def postgres_backend(schemas: postgres.Schemas) -> Backend:
    @contextmanager
    def lend() -> Iterator[Store]:
        with schemas.lent() as schema:
            yield PostgresStore(schemas.url, schema=schema)

    return lend


@pytest.mark.timeout(240)  # thousands of commits, each with a disk sync
@pytest.mark.parametrize(("name", "examples"), [("sqlite", 15), ("postgres", 6)])
def test_what_holds_for_all_runs(request: pytest.FixtureRequest, name: str, examples: int) -> None:
    backend: Backend = request.getfixturevalue(f"{name}_backend")
    run_state_machine_as_test(
        lambda: Operations(backend),
        settings=settings(
            derandomize=True,
            deadline=None,
            max_examples=examples,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
