"""Owns what workers report: each report is one stimulus of its run and stands or falls alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perdure.v1.worker_service_pb2 import KeptTask, ReportResult, TaskReport
from perdure_server.core import decide
from perdure_server.core.activity import FAILURE_ENDINGS, RESULT_ENDINGS, was_accepted
from perdure_server.core.draft import Draft, NextRun
from perdure_server.core.errors import DomainError, InvalidRequest, StaleTask, WorkflowNotFound
from perdure_server.core.state import RunState
from perdure_server.core.token import TaskToken
from perdure_server.engine.background import Background
from perdure_server.engine.dispatch import Dispatcher
from perdure_server.engine.heartbeats import Heartbeats
from perdure_server.engine.histories import history_pages
from perdure_server.engine.kept import KeptTasks
from perdure_server.engine.runs import Runs
from perdure_server.engine.session import Session, TaskKey
from perdure_server.engine.stimuli import Stimulus
from perdure_server.store.contract import Store

Resolve = Callable[[Any], None]
Reject = Callable[[Exception], None]
Answer = Callable[[ReportResult], None]

_INTERNAL = "INTERNAL"
_NO_RUN = NextRun("", 0)
"""Follows a report that keeps its task: one that would close the run is refused."""
_NO_ENDINGS: frozenset[str] = frozenset()
_ENDINGS = {"activity_completed": RESULT_ENDINGS, "activity_failed": FAILURE_ENDINGS}


class Reports:
    """Turns reports into stimuli, for every door."""

    def __init__(
        self,
        runs: Runs,
        dispatcher: Dispatcher,
        *,
        store: Store,
        heartbeats: Heartbeats,
        background: Background,
    ) -> None:
        self._runs = runs
        self._dispatcher = dispatcher
        self._store = store
        self._heartbeats = heartbeats
        self._background = background
        self.kept = KeptTasks(runs, dispatcher)

    def report(self, session: Session | None, report: TaskReport, answer: Answer) -> None:
        """Handles one report of a stream.

        `answer` is called once, when it is durable or refused.
        """
        reply = _Reply(report.report_id, answer)
        try:
            token = TaskToken.decode(report.task_token)
            if report.workflow_task_completed.keep_task:
                self._keep(token, report, session=session, answer=answer, reject=reply.reject)
                return
            self._handle(token, report, session=session, reply=reply)
        except DomainError as error:
            reply.reject(error)

    def submit(
        self, token: TaskToken, stimulus: Stimulus, endings: frozenset[str] = frozenset()
    ) -> None:
        """Reports on a task for good.

        Its slot is free at once, its lease when the report is committed.

        A stale report that is the accepted one sent again is resolved like the first time:
        `endings` are the events that a report of its kind on an activity may have written.
        """
        submitted = _Submitted(self, token, stimulus, endings)
        self._dispatcher.reported(submitted.key, token.lease)
        self._heartbeats.flush(submitted.key)
        stimulus.resolve, stimulus.reject = submitted.resolve, submitted.reject
        self._runs.stimulate(token.run_id, stimulus)

    def finished(self, token: TaskToken, key: TaskKey) -> None:
        """Notes that nobody holds a task any more."""
        self._dispatcher.finished(key, token.lease)

    def look_up(
        self, token: TaskToken, endings: frozenset[str], resolve: Resolve, reject: Reject
    ) -> None:
        """Answers a stale report by what the history says."""
        job = self._repeated(token, endings, resolve, reject)
        self._background.spawn(job, "repeated report")

    def _handle(
        self,
        token: TaskToken,
        report: TaskReport,
        *,
        session: Session | None,
        reply: _Reply,
    ) -> None:
        kind = report.WhichOneof("report")
        resolve: Resolve = reply.resolve
        reject: Reject = reply.reject
        if kind == "activity_heartbeat":
            details = report.activity_heartbeat
            payload = details.details if details.HasField("details") else None
            self._heartbeats.beat(token, payload, resolve, reject)
        elif kind == "workflow_task_cache_miss":
            self._resend(session, token, resolve)
        else:
            if kind == "workflow_task_completed" and session is not None:
                self._dispatcher.stick(session, token.run_id, token.seen_seq)
                sticky = _Sticky(self, session, token.run_id, reply)
                resolve, reject = sticky.resolve, sticky.reject
            endings = _ENDINGS.get(kind or "", _NO_ENDINGS)
            commands = report.workflow_task_completed.commands
            if kind == "workflow_task_completed" and _named_signals(commands):
                job = self._with_signals(token, commands, resolve, reject)
                self._background.spawn(job, "read the signals that go on")
                return
            stimulus = Stimulus(self._decision(token, report), resolve, reject)
            self.submit(token, stimulus, endings)

    def _keep(
        self,
        token: TaskToken,
        report: TaskReport,
        *,
        session: Session | None,
        answer: Answer,
        reject: Reject,
    ) -> None:
        """Handles a report that keeps its workflow task."""

        def resolve(kept: KeptTask | None) -> None:
            answer(ReportResult(report_id=report.report_id, kept=kept))

        if session is not None:
            self._dispatcher.stick(session, token.run_id, token.seen_seq)
            reject = self._unsticking(session, token, reject)
        decision = self.kept_commands(token, report.workflow_task_completed.commands)
        self.kept.report(token, decision, resolve, reject)

    def _unsticking(self, session: Session, token: TaskToken, reject: Reject) -> Reject:
        def unstick(error: Exception) -> None:
            self.unstick(session, token.run_id)
            reject(error)

        return unstick

    def unstick(self, session: Session, run_id: str, *, if_closed: bool = False) -> None:
        """Notes that a session's worker does not cache a run; with `if_closed`, one that closed."""
        if not if_closed or self._runs.is_closed(run_id):
            self._dispatcher.unstick(session, run_id)

    def _decision(self, token: TaskToken, report: TaskReport) -> Callable[[Draft, int], Any]:
        match report.WhichOneof("report"):
            case "workflow_task_completed":
                commands = report.workflow_task_completed.commands
                return self.commands(token, commands)
            case "workflow_task_failed":
                failure = report.workflow_task_failed.failure
                return lambda d, now: decide.decide_workflow_task_failed(d, token, failure, now)
            case "activity_completed":
                result = report.activity_completed.result
                return lambda d, now: decide.decide_activity_completed(d, token, result, now)
            case "activity_failed":
                failed = report.activity_failed.failure
                return lambda d, now: decide.decide_activity_failed(d, token, failed, now)
            case "activity_detached":
                return lambda d, _now: decide.decide_activity_detached(d, token)
        raise InvalidRequest("nothing is set; say what became of the task", "report")

    async def named_signals(self, token: TaskToken, commands: Any) -> dict[int, bytes]:
        """Reads the signals that commands name, which may be from long ago, by number."""
        named = _named_signals(commands)
        if not named:
            return {}
        found: dict[int, bytes] = {}
        async for rows in history_pages(self._store, token.run_id, after_seq=min(named) - 1):
            found.update({row.seq: row.frame for row in rows if row.seq in named})
            if rows[-1].seq >= max(named):
                break
        return found

    async def _with_signals(
        self, token: TaskToken, commands: Any, resolve: Resolve, reject: Reject
    ) -> None:
        try:
            frames = await self.named_signals(token, commands)
        except DomainError as error:
            reject(error)
            return
        self.submit(token, Stimulus(self.commands(token, commands, frames), resolve, reject))

    def commands(
        self, token: TaskToken, commands: Any, frames: Mapping[int, bytes] | None = None
    ) -> Callable[[Draft, int], Any]:
        """Returns the decision that applies the commands of a workflow task.

        `frames` are the stored signals that the commands name.
        """
        next_run, new_runs = self._runs.next_run(), self._new_runs(commands)
        return lambda draft, now_us: decide.decide_commands(
            draft,
            token,
            commands,
            next_run=next_run,
            new_runs=new_runs,
            frames=frames,
            now_us=now_us,
        )

    def kept_commands(self, token: TaskToken, commands: Any) -> Callable[[Draft, int], Any]:
        """Returns the decision that applies the commands of a workflow task that is kept."""
        new_runs = self._new_runs(commands)
        return lambda draft, now_us: decide.decide_kept_commands(
            draft, token, commands, next_run=_NO_RUN, new_runs=new_runs, now_us=now_us
        )

    def _new_runs(self, commands: Any) -> list[NextRun]:
        """Makes ids for each child that commands start."""
        children = sum(each.HasField("start_child_workflow") for each in commands)
        return [self._runs.next_run() for _ in range(children)]

    def _resend(self, session: Session | None, token: TaskToken, resolve: Resolve) -> None:
        def visit(state: RunState | None) -> None:
            task = state.tasks.get((token.kind, token.seq)) if state is not None else None
            if session is not None and task is not None and task.lease == token.lease:
                self._dispatcher.resend(session, task)
            resolve(None)

        self._runs.visit(token.run_id, visit)

    async def _repeated(
        self, token: TaskToken, endings: frozenset[str], resolve: Resolve, reject: Reject
    ) -> None:
        """Answers a stale activity report.

        Accepted when the history shows that it was this lease's.
        """
        try:
            accepted = await self._was_accepted(token, endings)
        except DomainError as error:
            reject(error)
            return
        if accepted:
            resolve(None)
        else:
            reject(StaleTask("the task is no longer this worker's; its report changed nothing"))

    async def _was_accepted(self, token: TaskToken, endings: frozenset[str]) -> bool:
        async for rows in history_pages(self._store, token.run_id):
            if was_accepted(rows, token, endings):
                return True
        return False


class _Reply:
    """The answer to one report of a stream, once it is known."""

    __slots__ = ("_answer", "_report_id")

    def __init__(self, report_id: int, answer: Answer) -> None:
        self._report_id = report_id
        self._answer = answer

    def resolve(self, cancel_requested: Any) -> None:
        """Says that the report counts."""
        stops = cancel_requested is True
        self._answer(ReportResult(report_id=self._report_id, cancel_requested=stops))

    def reject(self, error: Exception) -> None:
        """Says why the report does not count."""
        self._answer(refusal(self._report_id, error))


class _Sticky:
    """A reply to a worker that caches the run, which is noted before it is known to be so."""

    __slots__ = ("_reply", "_reports", "_run_id", "_session")

    def __init__(self, reports: Reports, session: Session, run_id: str, reply: _Reply) -> None:
        self._reports = reports
        self._session = session
        self._run_id = run_id
        self._reply = reply

    def resolve(self, answer: Any) -> None:
        """Answers; a report repeated after its run closed must not leave a trace for good."""
        self._reports.unstick(self._session, self._run_id, if_closed=True)
        self._reply.resolve(answer)

    def reject(self, error: Exception) -> None:
        """Answers; the worker forgets the run."""
        self._reports.unstick(self._session, self._run_id)
        self._reply.reject(error)


class _Submitted:
    """A report for good: whatever becomes of it, its lease is then known to have ended."""

    __slots__ = ("_endings", "_reject", "_reports", "_resolve", "_token", "key")

    def __init__(
        self, reports: Reports, token: TaskToken, stimulus: Stimulus, endings: frozenset[str]
    ) -> None:
        self.key = (token.run_id, token.kind, token.seq)
        self._reports = reports
        self._token = token
        self._endings = endings
        self._resolve = stimulus.resolve
        self._reject = stimulus.reject

    def resolve(self, result: Any) -> None:
        """Passes the answer on."""
        self._reports.finished(self._token, self.key)
        self._resolve(result)

    def reject(self, error: Exception) -> None:
        """Passes a refusal on, unless it is one of a report that was accepted before."""
        if not isinstance(error, StaleTask | WorkflowNotFound):
            self._reject(error)
            return
        self._reports.finished(self._token, self.key)
        if self._endings:
            self._reports.look_up(self._token, self._endings, self._resolve, self._reject)
        else:
            self._reject(error)


def refusal(report_id: int, error: Exception) -> ReportResult:
    """Returns the answer to a report that was refused."""
    if isinstance(error, DomainError):
        return ReportResult(report_id=report_id, reason=error.reason, message=str(error))
    return ReportResult(
        report_id=report_id, reason=_INTERNAL, message="the server failed; its log has more"
    )


def _named_signals(commands: Any) -> set[int]:
    """The numbers of the signals that are to go on with the next run."""
    return {
        max(signal.event_seq, 1)
        for command in commands
        if command.HasField("continue_as_new")
        for signal in command.continue_as_new.unconsumed_signals
    }
