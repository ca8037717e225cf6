"""Several servers on one database: what one does is known to the others, and none is needed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import watch_service_pb2 as watch
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure_server.core import limits
from perdure_server.core.errors import SessionReplaced, StoreUnavailable
from tests.engine.rig import Rig, complete, payload, schedule, settle, timer, wait


class Counting:
    """Counts the runs that a store reads from now on."""

    def __init__(self, store):
        self._load = store.load_run
        self.count = 0
        store.load_run = self

    async def __call__(self, run_id, **known):
        self.count += 1
        return await self._load(run_id, **known)


async def kill(rig: Rig) -> None:
    """Ends a server as `kill -9` does: nothing of it happens any more, nobody is told."""
    rig.store.kill()
    engine = rig.engine
    for part in (engine._leases, engine._retries, engine._timers, engine._dispatcher):
        part.close()
    for hand in rig.workers:
        await hand.cut()
    await engine._background.close()


async def result_of(rig, workflow_id="w", seconds=60):
    request = pb.GetWorkflowResultRequest(workflow_id=workflow_id)
    request.wait.seconds = seconds
    return await rig.engine.workflows.get_result(request)


async def test_a_task_goes_to_the_worker_of_another_server_at_once(servers):
    hand = await servers[1].worker()
    await servers[0].start()
    assert [task.workflow_id for task in hand.workflow_tasks] == ["w"]


async def test_a_task_from_before_a_worker_came_is_found(servers):
    await servers[0].start()
    hand = await servers[1].worker()
    assert hand.workflow_tasks


async def test_a_poll_finds_the_task_of_another_server(servers):
    await servers[0].start()
    request = worker.PollWorkflowTaskRequest(task_queue="default", worker_id="p")
    assert await servers[1].engine.workers.poll_workflow_task(request)


async def test_a_caller_waits_on_one_for_what_ends_on_another(servers):
    await servers[0].start()
    waiting = asyncio.create_task(result_of(servers[2]))
    await settle()
    hand = await servers[1].worker()
    await hand.command(hand.workflow_tasks[0], complete("7"))
    assert (await waiting).result.data == b"7"


async def test_every_server_takes_the_next_step_of_one_run(servers):
    hand = await servers[0].worker(activities=())
    await servers[1].start()
    await hand.command(hand.workflow_tasks[0], wait("a"), schedule())
    for rig, name in zip(servers, "xyz", strict=True):
        await rig.engine.workflows.signal(
            pb.SignalWorkflowRequest(workflow_id="w", signal_name=name)
        )
        await settle()
    other = await servers[2].worker("s2", workflows=())
    await other.report(other.activity_tasks[0], activity_completed={"result": payload()})
    kinds = await servers[1].kinds()
    assert kinds.count("signal_received") == 3
    assert kinds[-1] == "activity_completed"


async def test_a_report_reaches_a_server_that_has_not_heard_of_its_task(servers):
    await servers[0].start()
    signal = pb.SignalWorkflowRequest(workflow_id="w", signal_name="s")
    # The run is in the memory of the first server, as it was before the task was leased.
    await servers[0].engine.workflows.signal(signal)
    poll = worker.PollWorkflowTaskRequest(task_queue="default", worker_id="p")
    servers[0].store.hear = lambda hint: None
    answer = await servers[1].engine.workers.poll_workflow_task(poll)
    task = worker.PollWorkflowTaskResponse.FromString(answer).task
    request = worker.CompleteWorkflowTaskRequest(task_token=task.task_token, commands=[complete()])
    await servers[0].engine.workers.complete_workflow_task(request)
    assert (await servers[0].kinds())[-1] == "workflow_completed"


async def test_cancelling_on_one_stops_the_activity_on_another(servers):
    hand = await servers[1].worker()
    await servers[0].start()
    await hand.command(hand.workflow_tasks[0], schedule())
    request = pb.TerminateWorkflowRequest(workflow_id="w", reason="enough")
    await servers[2].engine.workflows.terminate(request)
    await settle()
    assert [notice.reason for notice in hand.cancels] == ["WORKFLOW_CLOSED"]


async def test_asking_an_activity_to_stop_reaches_its_worker_on_another(servers):
    hand = await servers[1].worker(workflows=())
    await servers[0].start()
    driver = await servers[2].worker("s2", activities=())
    await driver.command(driver.workflow_tasks[0], schedule())
    signal = pb.SignalWorkflowRequest(workflow_id="w", signal_name="s")
    await servers[0].engine.workflows.signal(signal)
    await settle()
    cancel = Command(cancel_activity={"seq": 1})
    await driver.command(driver.workflow_tasks[1], cancel)
    assert [notice.reason for notice in hand.cancels] == ["CANCEL_REQUESTED"]


async def test_a_polled_task_that_is_reported_to_another_server_is_held_no_more(servers):
    await servers[0].start()
    poll = worker.PollWorkflowTaskRequest(task_queue="default", worker_id="p")
    answer = await servers[1].engine.workers.poll_workflow_task(poll)
    task = worker.PollWorkflowTaskResponse.FromString(answer).task
    request = worker.CompleteWorkflowTaskRequest(task_token=task.task_token, commands=[wait("a")])
    await servers[2].engine.workers.complete_workflow_task(request)
    await settle()
    assert servers[1].engine._dispatcher.held_keys(None) == []


async def test_who_holds_tasks_of_a_run_reads_it_only_when_they_are_to_stop(servers):
    hand = await servers[1].worker()
    await servers[0].start()
    await hand.command(hand.workflow_tasks[0], schedule(), wait("a"))
    loads = Counting(servers[1].store)
    other = pb.SignalWorkflowRequest(workflow_id="w", signal_name="a")
    for _ in range(10):
        await servers[2].engine.workflows.signal(other)
        await settle()
    assert len(hand.workflow_tasks) == 2
    # What it read is the run of the one workflow task, to push it.
    assert loads.count == 1
    await servers[2].engine.workflows.terminate(
        pb.TerminateWorkflowRequest(workflow_id="w", reason="enough")
    )
    await settle()
    assert [notice.reason for notice in hand.cancels] == ["WORKFLOW_CLOSED"]


async def test_a_worker_takes_its_tasks_to_another_server(servers):
    hand = await servers[0].worker()
    await servers[0].start()
    await hand.command(hand.workflow_tasks[0], schedule())
    token = hand.activity_tasks[0].task_token
    await kill(servers.pop(0))
    again = await servers[0].worker("s1", held_task_tokens=[token])
    assert not again.welcome.lost_task_tokens
    result = await again.report(hand.activity_tasks[0], activity_completed={"result": payload()})
    assert not result.reason


async def test_a_worker_that_moved_is_not_lost_where_it_was(servers, database):
    hand = await servers[0].worker()
    await servers[0].start()
    await hand.command(hand.workflow_tasks[0], schedule())
    token = hand.activity_tasks[0].task_token
    again = await servers[1].worker("s1", held_task_tokens=[token])
    assert isinstance(hand.error, SessionReplaced)
    for _ in range(15):
        await database.advance(1)
        await again.say(ping=1)
    result = await again.report(hand.activity_tasks[0], activity_completed={"result": payload()})
    assert not result.reason


async def test_what_the_workers_of_a_dead_server_held_runs_elsewhere(servers, database):
    hand = await servers[0].worker()
    await servers[0].start()
    await hand.command(hand.workflow_tasks[0], schedule(retry_policy={"max_attempts": 3}))
    other = await servers[1].worker("other")
    await kill(servers.pop(0))
    for _ in range(13):
        await database.advance(1)
        await other.say(ping=1)
    assert [task.attempt for task in other.activity_tasks] == [2]


async def test_the_timers_of_a_dead_server_fire_once_and_soon(servers, database):
    hand = await servers[0].worker()
    await servers[0].start()
    await hand.command(hand.workflow_tasks[0], timer(seconds=2), wait())
    await kill(servers.pop(0))
    await database.advance(5)
    assert (await servers[0].kinds()).count("timer_fired") == 1


async def test_the_polled_task_of_a_dead_server_comes_back(servers, database):
    await servers[0].start()
    poll = worker.PollWorkflowTaskRequest(task_queue="default", worker_id="p")
    assert await servers[0].engine.workers.poll_workflow_task(poll)
    await kill(servers.pop(0))
    await database.advance(33)
    poll.wait.seconds = 0
    assert await servers[1].engine.workers.poll_workflow_task(poll)


async def test_a_stopped_server_leaves_its_worker_to_another(servers):
    hand = await servers[0].worker()
    await servers[0].start()
    await hand.command(hand.workflow_tasks[0], schedule())
    token = hand.activity_tasks[0].task_token
    await servers[0].engine.drain()
    await hand.cut()
    await servers[0].engine.stop()
    again = await servers[1].worker("s1", held_task_tokens=[token])
    assert not again.welcome.lost_task_tokens


async def test_a_worker_that_never_comes_back_from_a_stopped_server_is_lost(servers, database):
    hand = await servers[0].worker()
    await servers[0].start()
    await hand.command(hand.workflow_tasks[0], schedule(retry_policy={"max_attempts": 3}))
    await servers[0].engine.drain()
    await hand.cut()
    await servers[0].engine.stop()
    other = await servers[1].worker("other")
    for _ in range(25):
        await database.advance(1)
        await other.say(ping=1)
    assert [task.attempt for task in other.activity_tasks] == [2]


async def test_a_lease_whose_answer_was_lost_ends_soon_after_the_gap(servers, database):
    hand = await servers[0].worker()
    store = servers[0].store
    real = store.commit

    async def answerless(changesets):
        return [StoreUnavailable("it is not known")] * len(await real(changesets))

    store.commit = answerless
    with pytest.raises(StoreUnavailable):
        await servers[0].start()
    store.commit = real
    assert not hand.workflow_tasks
    store.lose_connection()
    await database.advance(3)
    assert [task.workflow_id for task in hand.workflow_tasks] == ["w"]


def failing_once(method):
    """Fails the first call of a method of a store."""
    refusals = [StoreUnavailable("not now")]

    async def fail(*arguments):
        if refusals:
            raise refusals.pop()
        return await method(*arguments)

    return fail


async def test_an_end_that_could_not_be_read_at_once_is_told_all_the_same(servers, database):
    await servers[0].start()
    waiting = asyncio.create_task(result_of(servers[2]))
    await settle()
    servers[2].store.summarize_run = failing_once(servers[2].store.summarize_run)
    hand = await servers[1].worker()
    await hand.command(hand.workflow_tasks[0], complete("7"))
    await database.advance(2)
    assert waiting.done()
    assert (await waiting).result.data == b"7"


async def test_a_revoked_key_that_could_not_be_read_at_once_opens_none(servers, database):
    keys = [rig.engine.keys for rig in servers]
    made = await keys[0].create(admin.CreateApiKeyRequest())
    await settle()
    servers[2].store.list_api_keys = failing_once(servers[2].store.list_api_keys)
    await keys[1].delete(admin.DeleteApiKeyRequest(prefix=made.prefix))
    await database.advance(2)
    assert keys[2].authenticate(made.plaintext) is None


async def test_a_session_given_up_without_an_answer_is_given_up(servers, database):
    hand = await servers[0].worker()
    await servers[0].start()
    policy = {"max_attempts": 3, "initial_interval": {"nanos": 1_000_000}}
    await hand.command(hand.workflow_tasks[0], schedule(retry_policy=policy))
    other = await servers[1].worker("other")
    real = servers[0].store.release_session

    async def answerless(session_id):
        servers[0].store.release_session = real
        await real(session_id)
        raise StoreUnavailable("it is not known")

    servers[0].store.release_session = answerless
    for _ in range(12):
        await database.advance(1)
        await other.say(ping=1)
    assert [task.attempt for task in other.activity_tasks] == [2]


async def test_a_sweep_that_hangs_does_not_stop_the_beats(servers, database):
    async def hang(*_, **__):
        await asyncio.Event().wait()

    servers[0].store.overdue = hang
    hand = await servers[0].worker()
    for _ in range(12):
        await database.advance(1)
        await hand.say(ping=1)
    beat = await servers[1].store.beat(silent_us=limits.SERVER_SILENCE_US)
    assert (beat.servers, beat.silent) == (len(servers), ())
    assert not hand.ended


async def test_servers_that_had_no_database_do_not_give_each_other_up(servers, database):
    """The first that has it back finds the others silent, and waits for them to come back too."""
    beats = [(rig.store, rig.store.beat) for rig in servers]

    async def fail(*, silent_us):
        raise StoreUnavailable("the database is away")

    for store, _ in beats:
        store.beat = fail
    hand = await servers[1].worker()
    for _ in range(7):
        await database.advance(1)
        await hand.say(ping=1)
    for store, beat in beats:
        store.beat = beat
        await database.advance(1)
        await hand.say(ping=1)
    assert len(database.contents.beats) == len(servers)
    assert not hand.ended


async def test_one_that_stays_away_is_given_up_all_the_same(servers, database):
    await kill(servers[1])
    beat = servers[0].store.beat

    async def fail(*, silent_us):
        raise StoreUnavailable("the database is away")

    servers[0].store.beat = fail
    await kill(servers[2])
    await database.advance(7)
    servers[0].store.beat = beat
    await database.advance(2)
    assert len(database.contents.beats) == len(servers)
    await database.advance(4)
    assert list(database.contents.beats) == [servers[0].store._server_id]


async def test_an_end_is_told_though_it_could_not_be_read_when_it_was_heard_of(servers, database):
    here, there, _ = servers
    await here.start()
    waiting = asyncio.create_task(result_of(there))
    await settle()
    summarize = there.store.summarize_run

    async def fail(run_id):
        raise StoreUnavailable("the database is away")

    there.store.summarize_run = fail
    hand = await here.worker()
    await hand.command(hand.workflow_tasks[0], complete("7"))
    await settle()
    assert not waiting.done()
    there.store.summarize_run = summarize
    await database.advance(1.5)
    assert waiting.done()
    assert (await waiting).result.data == b"7"


async def test_a_poll_that_has_its_answer_takes_nothing_more(servers):
    here, there, _ = servers
    found, find = asyncio.Event(), there.store.ready_lanes

    async def find_late(now_us):
        await found.wait()
        return await find(now_us)

    there.store.ready_lanes = find_late
    request = worker.PollWorkflowTaskRequest(task_queue="default", worker_id="p")
    polling = asyncio.create_task(there.engine.workers.poll_workflow_task(request))
    await settle()
    await here.start("a")
    await here.engine.workflows.terminate(pb.TerminateWorkflowRequest(workflow_id="a"))
    await settle()
    run_id = (await here.start("b")).run_id
    (task,) = (await here.store.load_run(run_id)).tasks.values()
    assert (task.session_id, task.lease) == (None, 0)
    found.set()
    assert worker.PollWorkflowTaskResponse.FromString(await polling).task.workflow_id == "a"


async def test_a_server_that_was_given_up_begins_anew(servers, database):
    hand = await servers[0].worker()
    await servers[0].start()
    await hand.command(hand.workflow_tasks[0], schedule(retry_policy={"max_attempts": 3}))
    database.contents.beats[servers[0].store._server_id] -= 20_000_000
    await servers[1].engine._peers._show()
    await settle()
    await database.advance(1.5)
    assert isinstance(hand.error, SessionReplaced)
    again = await servers[0].worker("s1", held_task_tokens=[hand.activity_tasks[0].task_token])
    assert not again.welcome.lost_task_tokens


async def test_a_watch_sees_what_every_server_commits_in_order(servers):
    request = watch.WatchRequest(kinds=["workflow_started"])
    async with aclosing(servers[2].engine.watches.watch(request)) as answers:
        await anext(answers)
        for number in range(30):
            await servers[number % len(servers)].start(f"w{number}")
        seen = [(await anext(answers)).workflow_id for _ in range(30)]
    assert seen == [f"w{number}" for number in range(30)]


async def test_a_watch_tells_that_a_run_began_on_another_server(servers):
    """At once with what the code did, else with the next event of the run."""
    request = watch.WatchRequest()
    async with aclosing(servers[2].engine.watches.watch(request)) as answers:
        await anext(answers)
        hand = await servers[1].worker()
        for name, commands in (("acts", [schedule()]), ("waits", [])):
            await servers[0].start(name)
            await hand.command(hand.workflow_tasks[-1], *commands)
        signal = pb.SignalWorkflowRequest(workflow_id="waits", signal_name="go")
        await servers[0].engine.workflows.signal(signal)
        said = [await anext(answers) for _ in range(6)]
    assert [(each.workflow_id, each.kind) for each in said] == [
        ("acts", "workflow_started"),
        ("acts", "workflow_running"),
        ("acts", "activity_scheduled"),
        ("waits", "workflow_started"),
        ("waits", "workflow_running"),
        ("waits", "signal_received"),
    ]


async def test_a_watch_of_one_workflow_ends_with_it_on_another_server(servers):
    await servers[0].start()
    request = watch.WatchWorkflowRequest(workflow_id="w")
    async with aclosing(servers[2].engine.watches.watch_workflow(request)) as answers:
        await anext(answers)
        await anext(answers)
        hand = await servers[1].worker()
        await hand.command(hand.workflow_tasks[0], complete())
        assert [answer.kind async for answer in answers] == ["workflow_completed"]


async def test_a_key_that_one_server_revokes_opens_none(servers):
    keys = [rig.engine.keys for rig in servers]
    made = await keys[0].create(admin.CreateApiKeyRequest())
    await settle()
    assert [each.authenticate(made.plaintext) for each in keys] == [made.prefix] * len(servers)
    told = []
    keys[2].on_revoked(told.append)
    await keys[1].delete(admin.DeleteApiKeyRequest(prefix=made.prefix))
    await settle()
    assert [each.authenticate(made.plaintext) for each in keys] == [None] * len(servers)
    assert told == [made.prefix]


async def test_servers_that_meet_at_one_run_never_tell_their_callers(servers):
    await servers[0].start()

    async def send(rig, number):
        request = pb.SignalWorkflowRequest(workflow_id="w", signal_name=f"s{number}")
        return (await rig.engine.workflows.signal(request)).event_seq

    numbers = [send(servers[number % len(servers)], number) for number in range(300)]
    assert sorted(await asyncio.gather(*numbers)) == list(range(2, 302))
