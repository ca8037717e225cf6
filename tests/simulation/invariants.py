"""What must hold for every history, every row and every promise, whatever happened."""

from __future__ import annotations

from collections import Counter
from typing import Any

from perdure._replay.replayer import replay
from perdure.errors import RpcError
from perdure.v1.activity_pb2 import ActivityStatus
from perdure.v1.history_pb2 import ActivityScheduled, History, HistoryEvent
from perdure.v1.workflow_service_pb2 import GetActivityRequest
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import EventRow, Run, TimerKind
from perdure_server.core.run import RUN_TRANSITIONS, TASK_ACCEPTED, TASK_WANTED, apply
from perdure_server.core.token import TaskToken
from perdure_server.engine.engine import Engine
from tests.simulation.accounts import check_accounts, check_attributes, check_updates
from tests.simulation.family import check_children, check_families
from tests.simulation.flows import WORKFLOWS
from tests.simulation.lineage import by_workflow, check_lineage, events_of, own_events
from tests.simulation.operators import check_operations, check_pauses
from tests.simulation.timetable import check_schedules
from tests.support.histories import CLOSINGS, is_external
from tests.support.model_contents import Contents, StoredRun
from tests.support.sim_client import KINDS, Promises
from tests.support.sim_network import Network, SimTransport
from tests.support.sim_worker import SimWorker

_ENDS = {"activity_completed", "activity_failed", "activity_timed_out", "activity_cancelled"}
_ALWAYS_RUNNING = {"commit", "beat", "tend what others left", "hear other servers", "feed watches"}
_NOTICES = {"workflow_running", "workflow_continued", "schedule_triggered"}
"""What a watch tells of that is no event of a history."""
_TOLD = {"start", "signal", "activity", "cancel", "terminate", "result"}
"""What is known of by the workflow that was asked about."""


def check_all(promises: Promises, contents: Contents) -> None:
    """Checks what is on disk after everything has ended."""
    for stored in contents.runs.values():
        check_run(stored)
        assert stored.run.status.is_closed
        check_replay(stored)
    check_lineage(contents)
    check_signals(promises, contents)
    check_families(contents)
    check_accounts(promises, contents)
    check_operations(promises, contents)
    check_schedules(promises, contents)
    check_accepted(promises, contents)
    check_answers(promises, contents)
    check_watch(promises, contents)


def check_disk(contents: Contents) -> None:
    """Checks what a server that died at any instant has left."""
    for stored in contents.runs.values():
        check_run(stored)


def check_run(stored: StoredRun) -> None:
    """Checks a run at any time: its history alone, and its rows against its history."""
    events = [parse_frame(row.frame) for row in stored.history]
    run = stored.run
    assert [event.seq for event in events] == list(range(1, len(events) + 1)), run
    assert [row.seq for row in stored.history] == list(range(1, len(events) + 1)), run
    instants = [event.timestamp.ToMicroseconds() for event in events]
    assert instants == sorted(instants) == [row.at_us for row in stored.history], run
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == [row.kind for row in stored.history], run
    assert kinds.index("workflow_started") == 0, run
    assert kinds.count("workflow_started") == 1, run
    assert not set(kinds[:-1]) & CLOSINGS, run
    assert run.status.is_closed == (kinds[-1] in CLOSINGS), run
    check_fold(stored)
    open_activities = check_activities(run, events)
    open_timers = check_timers(run, events)
    check_children(run, stored, events)
    check_updates(stored, events)
    check_attributes(stored, events)
    check_pauses(stored)
    if run.status.is_closed:
        assert [*stored.activities, *stored.tasks, *stored.timers] == [], run
        return
    assert set(stored.activities) == open_activities, run
    assert {seq for kind, seq in stored.tasks if kind == "activity"} == open_activities, run
    user = {seq for kind, seq in stored.timers if kind is TimerKind.USER}
    assert user == open_timers, run
    # The task of a paused run is made when it goes on; one that it has already is kept.
    wanted = run.stimulus_seq > run.seen_seq
    task = stored.tasks.get(("workflow", 0))
    # One that nothing calls for was kept while steps ran; its last report is still to come.
    assert wanted or task is None or task.lease > run.accepted_lease, run
    assert not wanted or run.status == "PAUSED" or ("workflow", 0) in stored.tasks, run


def check_fold(stored: StoredRun) -> None:
    """The history folded gives the state; what only an accepted task changes is taken over."""
    run, first = stored.run, stored.history[0]
    folded = Run(
        **{
            name: getattr(run, name)
            for name in (
                "run_id",
                "namespace",
                "workflow_id",
                "workflow_type",
                "task_queue",
                "generation",
                "version",
                "attempt",
                "priority",
                "created_at_us",
            )
        },
        status=run.status,
        updated_at_us=first.at_us,
    )
    accepted = False
    for row in stored.history:
        if not accepted and folded.history_length and _needs_running(folded, row, run):
            accepted = True
            apply(folded, TASK_ACCEPTED, 0, at_us=row.at_us)
        size, external = len(row.frame), is_external(row)
        apply(folded, row.kind, row.seq, at_us=row.at_us, size=size, external=external)
    if run.seen_seq and not run.status.is_closed and not accepted:
        apply(folded, TASK_ACCEPTED, 0, at_us=folded.updated_at_us)
    if stored.history[run.stimulus_seq - 1].kind == "search_attributes_upserted":
        apply(folded, TASK_WANTED, run.stimulus_seq, at_us=folded.updated_at_us)
    for name in (
        "status",
        "history_length",
        "history_bytes",
        "stimulus_seq",
        "cancel_requested",
        "closed_at_us",
    ):
        assert getattr(folded, name) == getattr(run, name), (name, folded, run)


def _needs_running(folded: Run, row: EventRow, run: Run) -> bool:
    outside = row.kind in {"signal_received", "workflow_cancel_requested"} or (
        is_external(row) and (folded.status, row.kind) in RUN_TRANSITIONS
    )
    return folded.status == "PENDING" and not outside and run.seen_seq > 0


def check_activities(run: Run, events: list[HistoryEvent]) -> set[int]:
    """Each is scheduled once and ends at most once; returns those that have not ended.

    The numbers of those from outside are negative, and may have gaps.
    """
    scheduled: dict[int, ActivityScheduled] = {}
    ended: Counter[int] = Counter()
    for event in events:
        kind = event.WhichOneof("event")
        if kind == "activity_scheduled":
            seq = event.activity_scheduled.activity_seq
            by_code = sum(1 for seq in scheduled if seq > 0)
            assert seq == by_code + 1 or (seq < 0 and seq not in scheduled), (run, seq)
            assert event.activity_scheduled.external == (seq < 0), (run, seq)
            scheduled[seq] = event.activity_scheduled
        elif kind in _ENDS:
            end = getattr(event, str(kind))
            assert end.activity_seq in scheduled, (run, end)
            ended[end.activity_seq] += 1
            assert ended[end.activity_seq] == 1, (run, end)
            check_end(end, scheduled[end.activity_seq])
    assert sum(1 for seq in scheduled if seq > 0) == run.activity_seq_max, run
    return set(scheduled) - set(ended)


def check_end(end: Any, scheduled: ActivityScheduled) -> None:
    """The result is that of the attempt, and the retry policy was kept."""
    assert end.name == scheduled.name, end
    bound = scheduled.options.retry_policy.max_attempts
    assert end.attempt >= 1, end
    assert not bound or end.attempt <= bound, end
    if end.DESCRIPTOR.name == "ActivityCompleted" and end.name != "elsewhere":
        assert int(end.result.data) == end.attempt, end


def check_timers(run: Run, events: list[HistoryEvent]) -> set[int]:
    """Each fires at most once, not before its time; returns those that wait."""
    due: dict[int, int] = {}
    closed: Counter[int] = Counter()
    fired: Counter[int] = Counter()
    for event in events:
        kind = event.WhichOneof("event")
        if kind == "timer_scheduled":
            seq = event.timer_scheduled.timer_seq
            assert seq == len(due) + 1, (run, seq)
            due[seq] = event.timer_scheduled.fire_at.ToMicroseconds()
        elif kind == "timer_fired":
            seq = event.timer_fired.timer_seq
            assert not closed[seq], (run, seq)
            assert event.timestamp.ToMicroseconds() >= due[seq], (run, seq)
            fired[seq] += 1
            closed[seq] += 1
        elif kind == "timer_cancelled":
            closed[event.timer_cancelled.timer_seq] += 1
    assert all(count == 1 for count in fired.values()), run
    assert len(due) == run.timer_seq_max, run
    return set(due) - set(closed)


def check_replay(stored: StoredRun) -> None:
    """Today's code meets its own history, and asks for nothing more."""
    history = History(events=[parse_frame(row.frame) for row in stored.history])
    assert replay(history, WORKFLOWS) == [], stored.run


def check_signals(promises: Promises, contents: Contents) -> None:
    """Each request counts once, in the order of its client, and none that was answered is lost."""
    answered: dict[str, list[int]] = {}
    for kind, request, _ in promises.answered:
        if kind == "signal":
            asked: Any = request
            answered.setdefault(asked.workflow_id, []).append(int(asked.payload.data))
        elif kind == "signal_with_start":
            asked = request
            answered.setdefault(asked.start.workflow_id, []).append(int(asked.payload.data))
    for workflow_id, runs in by_workflow(contents).items():
        got = [
            int(event.signal_received.payload.data)
            for run in runs
            for event in own_events(contents.runs[run.run_id], contents)
            if event.signal_received.signal_name == "note"
        ]
        assert got == sorted(set(got)), (workflow_id, got)
        assert set(answered.get(workflow_id, [])) <= set(got), (workflow_id, got, answered)


def check_accepted(promises: Promises, contents: Contents) -> None:
    """A result that was accepted is in the history, under the lease that it was reported with."""
    for report in promises.accepted:
        kind = report.WhichOneof("report")
        token = TaskToken.decode(report.task_token)
        stored = contents.runs[token.run_id]
        if kind == "activity_completed":
            ends = [
                event.activity_completed
                for event in events_of(stored)
                if event.HasField("activity_completed")
                and event.activity_completed.activity_seq == token.seq
            ]
            assert [end.lease for end in ends] == [token.lease], (report, ends)
        completed = report.workflow_task_completed
        # One that keeps its task and asks for nothing writes nothing.
        if kind == "workflow_task_completed" and (completed.commands or not completed.keep_task):
            assert stored.run.seen_seq >= token.seen_seq, (report, stored.run)


def check_answers(promises: Promises, contents: Contents) -> None:
    """What clients were told is what stands there."""
    for kind, request, answer in promises.answered:
        asked: Any = request
        told: Any = answer
        if kind not in _TOLD:
            continue
        runs = by_workflow(contents)[asked.workflow_id]
        if kind == "start":
            assert told.run_id in {run.run_id for run in runs}, told
        elif kind == "signal":
            rows = [row for run in runs for row in contents.runs[run.run_id].history]
            at = [row for row in rows if row.seq == told.event_seq]
            assert "signal_received" in {row.kind for row in at}, told
        elif kind == "activity":
            assert told.activity.run_id in {run.run_id for run in runs}, told
            check_scheduled(asked, contents.runs[told.activity.run_id])
        elif kind == "cancel":
            assert any(run.cancel_requested or run.status.is_closed for run in runs), told
        elif kind == "terminate":
            assert any(run.status == "TERMINATED" for run in runs), told
        elif kind == "result" and told.closed:
            run = contents.runs[told.run_id].run
            assert not run.next_run_id, told


def check_scheduled(asked: Any, stored: StoredRun) -> None:
    """An activity from outside that was answered is in the history once, as its client meant it."""
    found = [
        event.activity_scheduled
        for event in events_of(stored)
        if event.HasField("activity_scheduled")
        and event.activity_scheduled.activity_seq == -asked.seq
    ]
    assert [event.input.data for event in found] == [asked.input.data], (asked, found)


def check_watch(promises: Promises, contents: Contents) -> None:
    """A watcher saw every event once, in the order of commits, from where it began.

    Of a run that has begun, or that a schedule has started, it is told at most once.
    """
    notices = [(told.run_id, told.kind) for told in promises.watched if told.kind in _NOTICES]
    assert len(set(notices)) == len(notices), "a run began twice"
    events = [told for told in promises.watched if told.kind not in _NOTICES]
    seen = [(told.run_id, told.event.seq) for told in events]
    log = [(event.run_id, event.row.seq) for event in contents.log]
    assert seen == log[len(log) - len(seen) :], "the watch has a gap or a repetition"


def check_engine(engine: Engine | None, contents: Contents) -> None:
    """An engine at rest holds no slot and no task, and remembers runs as they are stored."""
    assert engine is not None
    assert engine._committer.is_idle
    running = {task.get_name() for task in engine._background._tasks}
    assert running <= _ALWAYS_RUNNING, running
    for session in engine.sessions.all():
        assert not session.held, (session.session_id, session.held)
        assert not any(session.used.values()), (session.session_id, session.used)
    assert not engine._dispatcher._holders, "holders"
    assert not engine._heartbeats._beats, "beats"
    # What other servers ended may be expected here until its time has come.
    if not engine._runs.are_shared:
        assert not engine._dispatcher._backlogged, "backlogged"
        assert len(engine._timers._alarms) == 0
        assert len(engine._leases) == 0
    for lane in engine._dispatcher._backlogged:
        assert not lane.has_room(engine._clock.monotonic_us()), lane.lane
    for run_id, actor in engine._runs._actors.items():
        assert not actor.busy, run_id
        assert [*actor.waiting, *actor.visits] == [], run_id
        if actor.state is not None and not actor.outdated:
            assert actor.state.run == contents.runs[run_id].run, run_id


def check_caches(engine: Engine | None, workers: list[SimWorker]) -> None:
    """The engine thinks a worker caches only what the worker does cache."""
    assert engine is not None
    cached = {run.run_id for worker in workers for run in worker.cached_runs()}
    for session in engine.sessions.all():
        assert set(session.cached) <= cached, (session.session_id, session.cached, cached)
    assert set(engine._dispatcher._sticky) <= cached, cached


async def check_repetitions(promises: Promises, contents: Contents, network: Network) -> None:
    """Every request that was answered is answered the same again, and changes nothing."""
    transport = SimTransport(network)
    events = len(contents.log)
    for kind, request, answer in promises.answered:
        if kind == "activity":
            await check_activity_ended(transport, answer)
        if not getattr(getattr(request, "start", request), "request_id", ""):
            continue
        if not getattr(answer, "completed", True):
            continue
        try:
            again = await transport.call(KINDS[kind], request)
        except RpcError as error:
            raise AssertionError(f"repeated {kind} {request}: {error!r}") from error
        assert again == answer, (kind, request, answer, again)
    assert len(contents.log) == events, "a repetition was not one"


async def check_activity_ended(transport: SimTransport, answer: Any) -> None:
    """An activity from outside is found by the id that was told, and has ended with its run."""
    request = GetActivityRequest(activity_id=answer.activity.activity_id)
    found: Any = await transport.call("WorkflowService/GetActivity", request)
    told, ended = answer.activity, found.activity
    assert (ended.run_id, ended.seq, ended.external) == (told.run_id, told.seq, True), found
    assert ended.status >= ActivityStatus.ACTIVITY_STATUS_COMPLETED, found


def describe(contents: Contents) -> str:
    """Returns the runs that are still open, for a person to read."""
    lines = []
    for stored in contents.runs.values():
        if not stored.run.status.is_closed:
            lines.append(repr(stored.run))
            lines += [f"    {row.seq} {row.kind} {row.at_us}" for row in stored.history[-8:]]
            lines += [f"    {row}" for row in (*stored.tasks.values(), *stored.timers.values())]
    return "\n".join(lines)
