"""One random stream of operations to the model and to a backend: answers and contents agree.

The stream goes on until every kind of operation has succeeded and every kind of refusal has
occurred. A failure names the seed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from perdure_server.core.changeset import Changeset, RunChange, ScheduleChange, TaskFence
from perdure_server.core.model import (
    ApiKey,
    Lane,
    MessageKey,
    Namespace,
    RequestRecord,
    RunStatus,
    ScheduleRow,
    Snapshot,
    TaskKind,
    TimerKind,
    Update,
)
from perdure_server.core.state import RunState
from perdure_server.store.contract import (
    ClaimRequest,
    Committed,
    Heard,
    KeyInserted,
    ListFilter,
    Position,
    Store,
    WatchedEvent,
)
from tests.store.test_workers import a_worker
from tests.support.histories import (
    START_US,
    a_child,
    a_message,
    a_request,
    a_run,
    a_task,
    a_timer,
    an_activity,
    starting,
    stepping,
)
from tests.support.model_store import ModelStore

STEPS_MIN = 100
STEPS_MAX = 1_000
COMPARED_EVERY = 5
"""Steps between two looks at all contents; answers are compared after each."""
START = Position(1, 0, -1)
NAMESPACES = ("default", "other")
TYPES = ("checkout", "refund")
LANES = [
    Lane(namespace, "shop", kind, type_)
    for namespace in NAMESPACES
    for kind, type_ in [
        *((TaskKind.WORKFLOW, each) for each in TYPES),
        (TaskKind.ACTIVITY, "charge"),
    ]
]
EXPECTED = {
    "start Committed",
    "start WorkflowAlreadyExists",
    "start RequestRecorded",
    "change Committed",
    "change StaleVersion",
    "change RequestRecorded",
    "close Committed",
    "several Committed",
    "several StaleVersion",
    "continue Committed",
    "continue WorkflowAlreadyExists",
    "take Committed",
    "take StaleVersion",
    "take MessageTaken",
    "claim",
    "extend",
    "delete runs",
    "insert namespace",
    "delete namespace",
    "insert key INSERTED",
    "insert key NOT_FIRST",
    "insert key LABEL_EXISTS",
    "insert key TAKEN",
    "delete key",
    "workers",
    "schedule Committed",
    "schedule StaleVersion",
    "schedule WorkflowAlreadyExists",
    "delete schedules",
}
KINDS = ("start", "change", "close", "several", "schedule", "continue", "take")

Operation = Callable[[Store], Awaitable[Any]]


class Stream:
    """Makes random operations; it looks at the model so that most of them succeed."""

    def __init__(self, random: Random, model: ModelStore) -> None:
        self._random = random
        self._model = model
        self._made = 0
        self.now_us = START_US
        self.run_ids: list[str] = []
        self.some_requests: list[tuple[str, str, str, str]] = []
        self.some_runs: list[str] = []
        self.messages: list[MessageKey] = []
        """Those that were ever sent, also by changes that were refused."""
        self._requests: dict[tuple[str, str, str, str], None] = {}

    async def next(self) -> tuple[list[str], Operation]:
        """Returns an operation and the kinds of its answers, one each."""
        self.now_us += self._random.randint(0, 500)
        self.some_requests = self._random.sample([*self._requests], min(len(self._requests), 5))
        self.some_runs = self._random.sample(self.run_ids, min(len(self.run_ids), 5))
        if self._happens(0.15):
            return ["claim"], self._claim()
        if self._happens(0.1):
            leases = [(task, self.now_us + 9) for task in await self._model.leased_tasks()]
            return ["extend"], lambda store: store.extend_leases(leases)
        if self._happens(0.25):
            return self._upkeep()
        batch = [await self._changeset() for _ in range(self._random.randint(1, 4))]
        changesets = [changeset for _, changeset in batch]
        return [kind for kind, _ in batch], lambda store: store.commit(changesets)

    def _upkeep(self) -> tuple[list[str], Operation]:
        """What operators do."""
        random, number = self._random, self._random.randint(1, 4)
        namespace = random.choice(NAMESPACES)
        limits = {"before_us": self.now_us - random.choice((0, 0, 9))}
        limits |= {"limit": random.randint(1, 3), "max_events": random.randint(1, 9)}
        limits["max_bytes"] = random.randint(0, 99)
        key = ApiKey(bytes([number]), f"prefix-{number}", random.choice("ab"), self.now_us)
        conditions = {"only_first": self._happens(0.4), "unless_label": self._happens(0.4)}
        operations: dict[str, Operation] = {
            "delete runs": lambda store: store.delete_closed_runs(namespace, **limits),
            "insert namespace": lambda store: store.insert_namespace(Namespace(namespace, number)),
            "set retention": lambda store: placeless(store.set_retention(namespace, number)),
            "claim sweep": lambda store: placeless(
                store.claim_sweep(now_us=self.now_us, until_us=self.now_us + number)
            ),
            "delete namespace": lambda store: store.delete_namespace(namespace),
            "insert key": lambda store: store.insert_api_key(key, **conditions),
            "delete schedules": lambda store: store.delete_schedules(namespace, limit=2),
            "delete key": lambda store: store.delete_api_key(key.prefix),
            "workers": self._workers(),
        }
        kind = random.choice([*operations, "insert key"])
        return [kind], operations[kind]

    def _workers(self) -> Operation:
        """A worker registers, some are heard, some are forgotten."""
        random, now_us = self._random, self.now_us
        numbers = [random.randint(1, 9) for _ in range(3)]
        span_us = random.randint(0, 20_000)
        put = a_worker(
            numbers[0],
            namespace=random.choice(NAMESPACES),
            queue=random.choice(["shop", "other"]),
            any_type=self._happens(0.5),
            heard_at_us=now_us,
            until_us=now_us + span_us,
        )
        words = [Heard(f"worker-{numbers[1]}", now_us, now_us + span_us)]
        gone = [(f"worker-{numbers[2]}", "")] if self._happens(0.2) else []

        async def operation(store: Store) -> bool:
            await store.put_workers([put])
            await store.hear_workers(words)
            await store.delete_workers(gone, silent_us=now_us - 5_000)
            return True

        return operation

    def _claim(self) -> Operation:
        limit, lease_us = self._random.randint(0, 3), self._random.choice([None, 100])
        lanes = self._random.sample(LANES, 2)
        claims = [ClaimRequest(lane, limit, "session", "worker", lease_us) for lane in lanes]
        now_us = self.now_us
        return lambda store: store.claim_tasks(claims, now_us)

    async def _changeset(self) -> tuple[str, Changeset]:
        kind = self._random.choice([*KINDS, "change"])
        states = [await self._model.load_run(run_id) for run_id in self.run_ids]
        is_open = [state for state in states if state and state.run.closed_at_us is None]
        if kind == "schedule":
            starts = [self._start()] if self._happens(0.5) else []
            return kind, Changeset(starts, schedules=[self._schedule()])
        if kind == "start" or len(is_open) < 3:
            return "start", Changeset([self._start()], self._request())
        if kind == "several":
            chosen = self._random.sample(is_open, 2)
            return kind, Changeset([*map(self._change, chosen), self._start()])
        change = self._change(self._random.choice(is_open))
        if kind == "take" and self.messages:
            return kind, Changeset([change], taken=[*await self._some_messages()])
        if kind == "continue":
            close(change, RunStatus.CONTINUED_AS_NEW, self.now_us)
            return kind, Changeset([change, self._follow_up(change)], self._request())
        if kind == "close":
            close(change, RunStatus.FAILED, self.now_us)
        kind = "close" if kind == "close" else "change"
        return kind, Changeset([change], self._request())

    def _start(self) -> RunChange:
        self._made += 1
        run = a_run(
            self._made,
            namespace=self._random.choice(NAMESPACES),
            workflow_id=f"order-{self._random.randint(1, 20)}",
            workflow_type=self._random.choice(TYPES),
            generation=self._random.randint(1, 2),
            history_length=1,
        )
        if self.run_ids and self._happens(0.4):
            run = replace(run, parent_run_id=self._random.choice(self.run_ids), parent_seq=1)
            run = replace(run, parent_workflow_id=f"order-{self._random.randint(1, 3)}")
        if self.run_ids and self._happens(0.05):
            run = replace(run, run_id=self._random.choice(self.run_ids))
        if run.run_id not in self.run_ids:
            self.run_ids.append(run.run_id)
        return starting(run, a_task(run, priority=self._random.randint(0, 2)))

    def _follow_up(self, change: RunChange) -> RunChange:
        """The run that goes on with the workflow of one that closes."""
        left, start = change.run, self._start().run
        run = replace(
            left,
            run_id=start.run_id,
            generation=left.generation + 1,
            previous_run_id=left.run_id,
            status=RunStatus.PENDING,
            version=1,
            closed_at_us=None,
        )
        return starting(run, a_task(run))

    async def _some_messages(self) -> set[MessageKey]:
        """Up to two messages; mostly they stand."""
        inbox = await self._model.read_inbox(after=None, before_us=self.now_us + 1, limit=9)
        standing = [message.key for message in inbox]
        known = standing if standing and self._happens(0.8) else self.messages
        return set(self._random.sample(known, min(len(known), 2)))

    def _change(self, state: RunState) -> RunChange:
        run, random = state.run, self._random
        task = a_task(run, ready_at_us=self.now_us + random.randint(-500, 500))
        work = a_task(run, random.randint(1, 3), kind=TaskKind.ACTIVITY, lease_limit_us=50)
        change = stepping(run, task, work, seen_seq=random.randint(0, run.history_length))
        if self._happens(0.1):
            change.expected_version += 100
        for key, row in state.tasks.items():
            if self._happens(0.3):
                change.fences[key] = TaskFence(*key, row.lease + int(self._happens(0.2)))
        self._change_rows(change, state)
        return change

    def _change_rows(self, change: RunChange, state: RunState) -> None:
        run, random = change.run, self._random
        change.del_tasks = {key for key in state.tasks if self._happens(0.3)}
        change.del_timers = {(TimerKind.USER, random.randint(1, 3))}
        change.del_activities = {random.randint(1, 3)}
        for seq in random.sample(range(1, 4), random.randint(0, 2)):
            change.put_activities[seq] = an_activity(run, seq, attempt=random.randint(1, 9))
            timer = a_timer(run, seq, kind=random.choice([*TimerKind]), due_us=random.randint(1, 9))
            change.put_timers[timer.kind, seq] = timer
        self._change_relations(change)

    def _change_relations(self, change: RunChange) -> None:
        """What reaches beyond the run, and what stands when it has closed."""
        run, random = change.run, self._random
        seq = random.randint(1, 3)
        if self._happens(0.3):
            change.put_children[seq] = a_child(run, seq, closed=self._happens(0.5))
        if self._happens(0.3):
            outcome = random.choice([b"", b"done"])
            change.put_updates[seq] = Update(run.run_id, seq, "add", f"u-{seq}", outcome)
        if self._happens(0.3):
            state = random.randbytes(3)
            change.snapshot = Snapshot(run.run_id, state, run.history_length, self.now_us)
        for _ in range(random.randint(0, 2)):
            message = a_message(run, len(self.messages) + 1, created_at_us=self.now_us)
            change.messages.append(message)
            self.messages.append(message.key)

    def _schedule(self) -> ScheduleChange:
        random = self._random
        key = (random.choice(NAMESPACES), random.choice("abcd"))
        stored = self._model.stored_schedules.get(key)
        version = stored.version if stored and self._happens(0.8) else random.randint(0, 1)
        serve_at_us = random.choice([None, random.randint(1, 5)])
        row = ScheduleRow(*key, version + 1, serve_at_us, self._happens(0.3), random.randbytes(3))
        return ScheduleChange(row, version, deletes=bool(version) and self._happens(0.2))

    def _request(self) -> list[RequestRecord]:
        if self._happens(0.5):
            return []
        record = a_request(a_run(self._random.randint(1, 20)), rpc=self._random.choice("ABC"))
        self._requests[record.namespace, record.workflow_id, record.rpc, record.request_id] = None
        return [record]

    def _happens(self, probability: float) -> bool:
        return self._random.random() < probability


def close(change: RunChange, status: RunStatus, now_us: int) -> None:
    """Makes a change the last one of its run."""
    change.closes = True
    change.run = replace(change.run, status=status, closed_at_us=now_us)


async def contents(store: Store, stream: Stream) -> dict[str, Any]:
    """Everything that a store tells about the runs of a stream."""
    found: dict[str, Any] = {each: await store.load_run(each) for each in stream.run_ids}
    for namespace in NAMESPACES:
        where = ListFilter(namespace)
        found[f"list {namespace}"] = await store.list_runs(where, after=None, limit=10_000)
    for each in stream.some_runs:
        found[f"children {each}"] = await store.list_children(each, after="", limit=9)
        found[f"snapshot {each}"] = await store.find_snapshot(each)
        found[f"updates {each}"] = [await store.find_update(each, seq) for seq in (1, 2, 3)]
    before_us = stream.now_us + 1
    inbox = found["inbox"] = await store.read_inbox(after=None, before_us=before_us, limit=10_000)
    if inbox:
        middle = inbox[len(inbox) // 2]
        before_us = middle.created_at_us
        found["rest"] = await store.read_inbox(after=middle.key, before_us=before_us, limit=3)
    found["stands"] = sorted(await store.standing_messages(stream.messages[-3:]))
    found["timers"] = await store.due_timers(after=None, limit=10_000)
    found["leased"] = sorted(map(repr, await store.leased_tasks()))
    found["depths"] = sorted(map(repr, await store.lane_depths()))
    listed = await store.list_namespaces(after="main", limit=9)
    found["namespaces"] = [without_place(each) for each in listed]
    found["keys"] = await store.list_api_keys()
    found["registered"] = sorted(map(repr, await store.registered_workers()))
    for queue in (None, "shop"):
        listed = await store.list_workers(NAMESPACES[0], queue=queue, now_us=stream.now_us)
        found[f"workers {queue}"] = sorted(map(repr, listed))
    found["due schedules"] = await store.due_schedules(after=None, limit=99)
    found["waiting schedules"] = await store.waiting_schedules(after=None, limit=99)
    for key in stream.some_requests:
        found[f"request {key}"] = await store.find_request(*key)
    for namespace in NAMESPACES:
        found[f"counts {namespace}"] = await store.count_runs(namespace)
        found[f"queues {namespace}"] = await store.queue_depths(namespace, stream.now_us)
        found[f"schedules {namespace}"] = await store.list_schedules(namespace, after="", limit=9)
        workflows = [(namespace, f"order-{number}") for number in range(1, 21)]
        found[f"latest {namespace}"] = await store.latest_runs(workflows)
        failed = await store.run_ids(namespace, RunStatus.FAILED, limit=5)
        found[f"failed {namespace}"] = failed
    log = await log_of(store)
    positions = [event.position for event in log]
    assert positions == sorted(set(positions))
    # Positions leave out what a backend likes to leave out: compared is what stands at them.
    found["log"] = [replace(event, position=START) for event in log]
    found["last"] = positions[-1:] == [await store.last_position()]
    return found


def without_place(namespace: Namespace) -> Namespace:
    """A namespace as all stores have it: each numbers its commits in its own way."""
    return replace(namespace, expired_commit=0, expired_index=-1)


async def placeless(found: Awaitable[Namespace | None]) -> Namespace | None:
    """The same for what an operation answers."""
    namespace = await found
    return namespace and without_place(namespace)


async def log_of(store: Store) -> list[WatchedEvent]:
    return await store.read_events(replace(START, epoch=store.epoch), limit=100_000)


def succeeded(kinds: list[str], answer: Any) -> set[str]:
    """What an answer proves to have worked, or to have been refused as it must."""
    if kinds == ["extend"]:
        return {"extend"}
    if kinds == ["claim"]:
        return {"claim"} if any(answer) else set()
    if isinstance(answer, KeyInserted):
        return {f"insert key {answer.outcome.name}"}
    if not isinstance(answer, list):
        return set(kinds) if answer else set()
    return {f"{kind} {type(outcome).__name__}" for kind, outcome in zip(kinds, answer, strict=True)}


async def plain(store: Store, kinds: list[str], answer: Any) -> Any:
    """Makes answers comparable.

    Two errors are the same when their types are, two commits when the same event stands first;
    commits that may have no event, when both are.
    """
    if not isinstance(answer, list) or not isinstance(answer[0], Committed | Exception):
        return answer
    events = {event.position: (event.run_id, event.row.seq) for event in await log_of(store)}
    return [
        events[outcome.first]
        if isinstance(outcome, Committed) and kind != "schedule"
        else type(outcome)
        for kind, outcome in zip(kinds, answer, strict=True)
    ]


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> Store:
    disk: Callable[[], Store] = request.getfixturevalue(f"{request.param}_disk")
    return disk()


@pytest.mark.timeout(
    240
)  # thousands of commits, each with a disk sync on a database of somebody else
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_backend_does_what_the_model_does(backend: Store, seed: int) -> None:
    model = ModelStore()
    await model.open()
    await backend.open()
    stream, seen, steps = Stream(Random(seed), model), set[str](), 0
    try:
        while steps < STEPS_MIN or not seen >= EXPECTED:
            assert steps < STEPS_MAX, f"seed {seed}: never seen: {EXPECTED - seen}"
            kinds, operation = await stream.next()
            expected, answer = await operation(model), await operation(backend)
            step = f"seed {seed}, step {steps}: {kinds}"
            told = await plain(backend, kinds, answer)
            assert told == await plain(model, kinds, expected), step
            if not steps % COMPARED_EVERY:
                assert await contents(backend, stream) == await contents(model, stream), step
            seen |= succeeded(kinds, expected)
            steps += 1
        assert await contents(backend, stream) == await contents(model, stream)
    finally:
        await backend.close()
