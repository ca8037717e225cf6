"""Who the workers are: kept over a restart, forgotten in silence, and the same on every server."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import namespace_service_pb2 as namespaces
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.core import limits
from perdure_server.core.errors import StoreUnavailable, WorkerNotFound
from tests.engine.rig import complete, running, schedule, settle
from tests.engine.test_cluster import kill
from tests.engine.test_streams import Reader
from tests.support.model_store import ModelStore

NOBODY = "no worker is connected to task queue 'default'"


class CountedStore(ModelStore):
    """Counts what is asked of it about workers."""

    def __init__(self, contents=None):
        super().__init__(contents)
        self.calls = []
        self.refuse_with = None

    async def hear_workers(self, words):
        self.calls.append(("hear", sorted(word.worker_id for word in words)))
        if self.refuse_with is not None:
            raise self.refuse_with
        await super().hear_workers(words)

    async def delete_workers(self, keys, *, silent_us):
        self.calls.append(("delete", keys))
        if self.refuse_with is not None:
            raise self.refuse_with
        await super().delete_workers(keys, silent_us=silent_us)

    async def find_workers(self, worker_ids):
        self.calls.append(("find", worker_ids))
        return await super().find_workers(worker_ids)

    async def list_workers(self, namespace, **where):
        self.calls.append(("list", namespace))
        return await super().list_workers(namespace, **where)


@pytest.fixture
async def store():
    store = CountedStore()
    await store.open()
    return store


@pytest.fixture
async def rig(store):
    async with running(store) as rig:
        yield rig


@pytest.fixture
def pair(servers):
    """Two of the servers on one database."""
    return servers[:2]


async def register(rig, **fields):
    defaults = {"identity": "me", "task_queue": "default", "workflow_types": ["W"]}
    request = worker.RegisterRequest(**(defaults | fields))
    return (await rig.engine.workers.register(request)).worker_id


async def heartbeat(rig, worker_id):
    await rig.engine.workers.heartbeat(worker.HeartbeatRequest(worker_id=worker_id))
    await settle()


async def listed(rig, **fields):
    request = worker.ListWorkersRequest(**fields)
    return list((await rig.engine.workers.list_workers(request)).workers)


async def poll(rig, worker_id, **fields):
    request = worker.PollWorkflowTaskRequest(task_queue="default", worker_id=worker_id, **fields)
    answer = await rig.engine.workers.poll_workflow_task(request)
    return worker.PollWorkflowTaskResponse.FromString(answer).task


async def reason(rig):
    answer = await rig.describe()
    return answer.pending_workflow_task.waiting_reason


class TestOneServer:
    async def test_a_restart_keeps_who_registered(self, rig, store):
        worker_id = await register(rig, workflow_types=["refund"], namespace="shop")
        before = await listed(rig, namespace="shop")
        async with running(store, rig.clock) as again:
            assert await listed(again, namespace="shop") == before
            await heartbeat(again, worker_id)
            await again.start("a", namespace="shop", workflow_type="W")
            await again.start("b", namespace="shop", workflow_type="refund")
            assert (await poll(again, worker_id)).workflow_id == "b"
            assert not (await poll(again, worker_id)).task_token

    async def test_silence_counts_anew_at_a_restart(self, rig, store):
        worker_id = await register(rig)
        rig.clock.jump(600)
        async with running(store, rig.clock) as again:
            await again.advance(80)
            await heartbeat(again, worker_id)
            await again.advance(80)
            assert [info.worker_id for info in await listed(again)] == [worker_id]

    async def test_workers_of_an_engine_in_their_process_end_with_it(self, rig, store):
        worker_id = await register(rig)
        async with running(store, rig.clock, workers_return=False) as again:
            assert await listed(again) == []
            with pytest.raises(WorkerNotFound):
                await heartbeat(again, worker_id)
        assert await store.registered_workers() == []

    async def test_who_is_silent_for_ninety_seconds_is_forgotten(self, rig, store):
        worker_id = await register(rig)
        await rig.advance(90)
        await heartbeat(rig, worker_id)
        await rig.advance(91)
        assert await listed(rig) == []
        with pytest.raises(WorkerNotFound):
            await heartbeat(rig, worker_id)
        await rig.advance(30)
        assert await store.registered_workers() == []

    async def test_heartbeats_are_written_together_and_seldom(self, rig, store):
        first, second = await register(rig), await register(rig, identity="other")
        for _ in range(30):
            await heartbeat(rig, first)
            await heartbeat(rig, second)
            await rig.advance(0.1)
        await rig.advance(5)
        assert store.calls == [("hear", [first, second])] * 2
        rows = await store.registered_workers()
        assert {row.until_us - row.heard_at_us for row in rows} == {limits.WORKER_FORGOTTEN_US}

    async def test_a_word_is_written_when_the_store_is_back(self, rig, store):
        worker_id = await register(rig)
        (before,) = await store.registered_workers()
        await rig.advance(10)
        store.refuse_with = StoreUnavailable("away")
        await heartbeat(rig, worker_id)
        await rig.advance(4)
        assert await store.registered_workers() == [before]
        store.refuse_with = None
        await rig.advance(4)
        (after,) = await store.registered_workers()
        assert after.heard_at_us == before.heard_at_us + 10_000_000

    async def test_the_silent_are_deleted_when_the_store_is_back(self, rig, store):
        await register(rig)
        store.refuse_with = StoreUnavailable("away")
        await rig.advance(125)
        assert len(await store.registered_workers()) == 1
        store.refuse_with = None
        await rig.advance(30)
        assert await store.registered_workers() == []
        del store.calls[:]
        await rig.advance(100)
        assert store.calls == []

    async def test_polls_lists_and_reasons_ask_nothing_of_the_store(self, rig, store):
        await rig.start()
        assert await reason(rig) == NOBODY
        await listed(rig)
        assert await poll(rig, "somebody")
        assert await poll(rig, await register(rig)) is not None
        assert store.calls == []

    async def test_the_reason_tells_who_registered_and_does_not_ask(self, rig):
        await rig.start()
        await register(rig, workflow_types=["other"])
        assert await reason(rig) == "no worker on task queue 'default' has workflow type 'W'"
        await register(rig)
        expected = "no worker that registered for task queue 'default' asks for tasks now"
        assert await reason(rig) == expected
        await rig.worker(slots=(0, 0))
        assert await reason(rig) == "every worker on task queue 'default' is busy"


class TestSeveralServers:
    async def test_who_registers_at_one_polls_and_reports_at_another(self, pair):
        here, there = pair
        worker_id = await register(here, workflow_types=["W"], namespace="shop")
        await heartbeat(there, worker_id)
        await here.start("a", workflow_type="other", namespace="shop")
        await here.start("b", namespace="shop")
        task = await poll(there, worker_id)
        assert task.workflow_id == "b"
        assert not (await poll(there, worker_id)).task_token
        request = worker.CompleteWorkflowTaskRequest(
            workflow_id="b", worker_id=worker_id, commands=[complete()]
        )
        await here.engine.workers.complete_workflow_task(request)
        found = await there.engine.workflows.get(
            pb.GetWorkflowRequest(workflow_id="b", namespace="shop")
        )
        assert found.workflow.HasField("result")

    async def test_every_server_lists_the_same(self, pair, database):
        here, there = pair
        await register(here, identity="registered", slots={"activity_tasks": 3})
        hand = await there.worker("connected")
        reader = await Reader(here, worker_id="reader", slots={"activity_tasks": 0}).open()
        await here.start()
        await hand.command(hand.workflow_tasks[0], schedule(), schedule(2))
        await database.advance(1)
        one, other = [await listed(rig) for rig in pair]
        assert one == other
        assert {info.identity: info.active_tasks for info in one} == {
            "connected": 2,
            "reader": 0,
            "registered": 0,
        }
        queues = [await rig.engine.queues.list(admin.ListQueuesRequest()) for rig in pair]
        assert queues[0] == queues[1]
        assert queues[0].queues[0].workers == 3
        request = namespaces.GetNamespaceRequest(name="main")
        stats = [(await rig.engine.namespaces.get(request)).stats for rig in pair]
        assert stats[0] == stats[1]
        assert stats[0].workers == 3
        await reader.cut()

    async def test_what_changes_of_a_session_is_told_to_all(self, pair, database):
        here, there = pair
        hand = await here.worker()
        await database.advance(1)
        await hand.say(draining=True, slots={"workflow_tasks": 7})
        await database.advance(1)
        (info,) = await listed(there)
        assert (info.draining, info.slots.workflow_tasks) == (True, 7)
        await hand.cut()
        await database.advance(1)
        assert await listed(there) == []

    async def test_a_worker_that_moved_is_listed_once(self, pair, database):
        here, there = pair
        await here.worker("s")
        await database.advance(1)
        await there.worker("s", workflows=("other",))
        await database.advance(1)
        for rig in pair:
            (info,) = await listed(rig)
            assert info.workflow_types == ["other"]

    async def test_the_reason_speaks_of_the_workers_of_all_servers(self, pair, database):
        here, there = pair
        await here.start()
        assert await reason(there) == NOBODY
        hand = await here.worker(slots=(0, 0), workflows=("other",))
        await database.advance(1)
        expected = "no worker on task queue 'default' has workflow type 'W'"
        assert await reason(there) == await reason(here) == expected
        other = await here.worker("s2", slots=(0, 0))
        await database.advance(1)
        expected = "every worker on task queue 'default' is busy"
        assert await reason(there) == await reason(here) == expected
        await hand.cut()
        await other.cut()
        reader = await Reader(here, worker_id="any", slots={"activity_tasks": 1}).open()
        await database.advance(1)
        assert await reason(there) == await reason(here) == expected
        await reader.cut()
        await database.advance(1)
        assert await reason(there) == await reason(here) == NOBODY

    async def test_a_pending_activity_has_its_reason_on_every_server(self, pair, database):
        here, there = pair
        hand = await here.worker(activities=())
        await here.start()
        await hand.command(hand.workflow_tasks[0], schedule())
        await database.advance(1)
        (info,) = (await there.describe()).pending_activities
        expected = "no worker on task queue 'default' has activity type 'A'"
        assert info.waiting_reason == expected
        request = pb.GetActivityRequest(activity_id=info.activity_id)
        assert (await there.engine.workflows.get_activity(request)).activity == info

    async def test_the_sessions_of_a_dead_server_vanish_with_it(self, pair, database):
        here, there = pair
        worker_id = await register(here)
        await here.worker("connected")
        await database.advance(1)
        assert [info.worker_id for info in await listed(there)] == sorted(["connected", worker_id])
        await kill(pair.pop(0))
        await database.advance(7)
        assert [info.worker_id for info in await listed(there)] == [worker_id]
        await heartbeat(there, worker_id)

    async def test_the_sessions_of_a_server_that_stops_vanish_at_once(self, pair, database):
        here, there = pair
        await here.worker("connected")
        await database.advance(1)
        await here.engine.drain()
        await here.engine.stop()
        assert await listed(there) == []

    async def test_a_server_that_joins_again_tells_of_its_sessions_anew(self, pair, database):
        here, there = pair
        await here.worker("s")
        await database.advance(1)
        database.contents.beats[here.store._server_id] -= 20_000_000
        await there.engine._peers._show()
        await settle()
        assert await listed(there) == []
        await database.advance(1)
        again = await here.worker("s")
        await database.advance(1)
        assert [info.worker_id for info in await listed(there)] == ["s"]
        await again.cut()

    async def test_who_is_heard_anywhere_is_forgotten_nowhere(self, pair, database):
        here, there = pair
        worker_id = await register(here)
        for _ in range(5):
            await database.advance(40)
            await heartbeat(there, worker_id)
        await heartbeat(here, worker_id)
        await database.advance(91)
        assert await listed(here) == await listed(there) == []
        with pytest.raises(WorkerNotFound):
            await heartbeat(here, worker_id)
        await database.advance(60)
        assert await here.store.registered_workers() == []

    async def test_a_heartbeat_at_another_server_keeps_the_leases_of_a_stream(self, pair, database):
        here, there = pair
        stream = await Reader(here, worker_id="r").open()
        await here.start()
        await database.advance(1)
        for _ in range(5):
            await heartbeat(there, "r")
            await database.advance(6)
        assert not stream.ended
        report = worker.TaskReport(
            task_token=stream.workflow_tasks[0].task_token,
            workflow_task_completed={"commands": [complete()]},
        )
        answer = await there.engine.workers.report(
            worker.ReportRequest(worker_id="r", reports=[report])
        )
        assert not answer.results[0].reason
        await stream.cut()

    async def test_reports_to_another_server_keep_the_leases_of_a_stream(self, pair, database):
        here, there = pair
        stream = await Reader(here, worker_id="r").open()
        await here.start()
        await database.advance(1)
        request = worker.CompleteWorkflowTaskRequest(
            task_token=stream.workflow_tasks[0].task_token, commands=[schedule(), schedule(2)]
        )
        await there.engine.workers.complete_workflow_task(request)
        await settle()
        first, second = stream.activity_tasks
        for _ in range(4):
            await database.advance(6)
            beat = worker.HeartbeatActivityRequest(task_token=first.task_token)
            await there.engine.workers.heartbeat_activity(beat)
        await database.advance(6)
        for task in (first, second):
            request = worker.CompleteActivityRequest(task_token=task.task_token)
            await there.engine.workers.complete_activity(request)
        assert not stream.ended
        await stream.cut()

    async def test_who_never_registered_is_looked_for_once(self, pair):
        there = pair[1]
        asked = []
        find = there.store.find_workers

        async def counted(worker_ids):
            asked.append(worker_ids)
            return await find(worker_ids)

        there.store.find_workers = counted
        for _ in range(3):
            await poll(there, "nobody")
        assert asked == [["nobody"]]

    async def test_of_many_strangers_the_latest_are_remembered(self, pair, monkeypatch):
        monkeypatch.setattr(limits, "WORKER_STRANGERS_MAX", 2)
        roster = pair[0].engine._roster
        for number in range(4):
            assert await roster.find(f"nobody-{number}") is None
        assert list(roster._strangers) == ["nobody-2", "nobody-3"]

    async def test_idle_servers_with_workers_write_little(self, pair, database):
        here, _ = pair
        await here.worker()
        await database.advance(2)
        calls = []
        for name in ("put_workers", "hear_workers", "delete_workers", "find_workers"):
            setattr(here.store, name, _noted(calls, name, getattr(here.store, name)))
        hand = here.workers[0]
        for _ in range(30):
            await hand.say(ping=1)
            await database.advance(1)
        assert calls == ["hear_workers"] * 6


def _noted(calls, name, method):
    async def noted(*given, **named):
        calls.append(name)
        await asyncio.sleep(0)
        return await method(*given, **named)

    return noted
