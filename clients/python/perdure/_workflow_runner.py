"""Owns the workflow tasks of a worker: which runs are cached, which tasks are in work.

Lives on the home loop; workflow code runs on a thread of its own. The cache is never needed for
correctness: a task for a run that is not at hand is asked for again with the whole history.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, TypeAlias, TypeVar

from perdure._failures import to_failure
from perdure._home import Hop
from perdure._keeper import Keeper
from perdure._link import Link
from perdure._query_runner import QueryRunner, ReadHistory
from perdure._replay.machine import Machine
from perdure._step_runner import StepSurroundings
from perdure._workflow import Workflow
from perdure._workflow_thread import AnyJob, Job, QueryJob, WorkflowThread
from perdure.codec import Codecs
from perdure.converter import Converter
from perdure.errors import PayloadError, RpcError
from perdure.interceptors import WorkflowInterceptor
from perdure.v1.failure_pb2 import Failure
from perdure.v1.history_pb2 import HistoryEvent
from perdure.v1.task_pb2 import QueryTask, WorkflowTask
from perdure.v1.worker_service_pb2 import (
    CachedRun,
    GetWorkflowTaskHistoryRequest,
    GetWorkflowTaskHistoryResponse,
    QueryAnswer,
    TaskReport,
    WorkflowTaskCacheMiss,
    WorkflowTaskFailure,
)

_TICKS_PER_LIMIT: Final = 5

_log = logging.getLogger("perdure.worker")

T = TypeVar("T")
Work: TypeAlias = SimpleQueue[AnyJob | Callable[[], None] | None]
FetchHistory = Callable[[GetWorkflowTaskHistoryRequest], Awaitable[GetWorkflowTaskHistoryResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSurroundings:
    """What stands around the code of all workflows of one worker; codecs run on `user_loop`."""

    user_loop: asyncio.AbstractEventLoop
    codecs: Codecs = field(default_factory=Codecs)
    interceptors: tuple[WorkflowInterceptor, ...] = ()
    steps: StepSurroundings = field(default_factory=StepSurroundings)


class WorkflowRunner:
    """Runs workflow tasks one after another. `start` it with its link, `stop` it at the end."""

    def __init__(
        self,
        workflows: Mapping[str, Workflow[Any, Any]],
        converter: Converter,
        *,
        around: WorkflowSurroundings | None = None,
        fetch_history: FetchHistory,
        read_history: ReadHistory,
        cached_runs_max: int,
        time_limit_s: float,
    ) -> None:
        self._workflows = workflows
        self._converter = converter
        self._fetch_history = fetch_history
        self._cached_runs_max = cached_runs_max
        self._time_limit_s = time_limit_s
        self._loop = asyncio.get_running_loop()
        self._hop = Hop(self._loop)
        self._around = around or WorkflowSurroundings(user_loop=self._loop)
        self._codecs = self._around.codecs
        self._machines: OrderedDict[str, Machine] = OrderedDict()
        self._jobs: dict[str, Job] = {}
        self._fetches: set[asyncio.Task[None]] = set()
        self._queue: Work = SimpleQueue()
        self._tick: asyncio.TimerHandle | None = None
        self._stuck: tuple[AnyJob | None, int] = (None, 0)
        self._asked: set[QueryJob] = set()
        self._queries = QueryRunner(self, read_history, self._answer)
        self.kept: Final = Keeper(
            self,
            user_loop=self._around.user_loop,
            around=self._around.steps,
        )

    def start(self, link: Link) -> None:
        """Starts the thread; reports go to `link`."""
        self._link = link
        self._start_thread()

    def stop(self) -> None:
        """Forgets everything and ends the thread when it is free."""
        self.kept.stop()
        for fetch in self._fetches:
            fetch.cancel()
        if self._tick is not None:
            self._tick.cancel()
        for job in list(self._jobs.values()):
            self.forget(job)
        self._asked.clear()
        stuck = self._thread.job
        if stuck is not None:
            # What has outlasted the drain may never wait again.
            self._leave(stuck)
        self.drop_runs(list(self._machines))
        self._queue.put(None)

    @property
    def idle(self) -> bool:
        """Whether no task is in work."""
        return not self._jobs and not self._asked

    def take(self, tasks: Sequence[WorkflowTask]) -> None:
        """Begins tasks, in order."""
        for task in tasks:
            if task.task_token not in self._jobs:
                self._begin(task)
        self._watch_over()

    def ask(self, tasks: Sequence[QueryTask]) -> None:
        """Begins queries."""
        self._queries.take(tasks)

    # What queries and kept tasks need.

    @property
    def codecs(self) -> Codecs:
        """What stands between payloads and the wire."""
        return self._codecs

    @property
    def converter(self) -> Converter:
        """What makes values of payloads."""
        return self._converter

    def cached(self, run_id: str) -> Machine | None:
        """The run in memory; None when it is not there."""
        return self._machines.get(run_id)

    def queue(self, job: QueryJob) -> None:
        """Has the thread ask the code."""
        self._asked.add(job)
        self._queue.put(job)
        self._watch_over()

    def is_current(self, job: Job) -> bool:
        """Whether a task is in work, and was neither lost nor abandoned."""
        return self._jobs.get(job.task.task_token) is job

    def enqueue(self, job: Job) -> None:
        """Has the thread apply the events of a job."""
        job.busy = True
        job.received_seq = max(job.received_seq, job.events[-1].seq if job.events else 0)
        self._queue.put(job)

    def report(self, job: Job, report: TaskReport) -> None:
        """Sends a report of a task that goes on."""
        self._link.report(report, job.task.run_id)

    def end(self, job: Job, report: TaskReport) -> None:
        """Ends a job with its last report."""
        if self._codecs:
            job.reporting = report
            self.spawn(self._encode_and_tell(job, report))
        else:
            self._tell(job, report)

    def forget(self, job: Job) -> None:
        """Notes that a task is not in work any more."""
        job.left = True
        self._jobs.pop(job.task.task_token, None)
        self.kept.forget(job)

    # What the session needs.

    def held_tokens(self) -> Iterable[str]:
        """Names the tasks in work."""
        return self._jobs.keys()

    def cached_runs(self) -> Iterable[CachedRun]:
        """Names the cached runs and the event each stands at."""
        return [
            CachedRun(run_id=run_id, last_seq=machine.last_seq)
            for run_id, machine in self._machines.items()
        ]

    def drop_runs(self, run_ids: Iterable[str]) -> None:
        """Forgets cached runs."""
        for run_id in run_ids:
            self._give_up(self.kept.drop(run_id))
            machine = self._machines.pop(run_id, None)
            if machine is not None:
                # Closing runs `finally` blocks of user code: that is the thread's business.
                self._queue.put(machine.close)

    def lose(self, task_token: str) -> None:
        """Forgets a task whose lease is gone, and its run; ignores an unknown token."""
        job = self._jobs.get(task_token) or self.kept.of_token(task_token)
        if job is not None:
            self.forget(job)
            self.drop_runs((job.task.run_id,))

    def _begin(self, task: WorkflowTask) -> None:
        if task.workflow_type not in self._workflows:
            self._link.report(_unknown(task))
            return
        if (before := self.kept.of_run(task.run_id)) is not None:
            # Its lease has ended, which was not heard of; what it asked for may be lost.
            self.forget(before)
            self.drop_runs((task.run_id,))
        machine = self._machines.get(task.run_id)
        if machine is None or machine.last_seq != task.previous_seq:
            self.drop_runs((task.run_id,))
            machine = None if task.previous_seq else self.new_machine(task)
        if machine is None:
            self._miss(task)
            return
        self._machines[task.run_id] = machine
        self._machines.move_to_end(task.run_id)
        job = Job(task, machine, self._converter)
        self._jobs[task.task_token] = job
        if task.next_page_token or self._codecs:
            self.spawn(self._prepare(job))
        else:
            self.enqueue(job)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Does something beside, until the worker ends."""
        task = self._loop.create_task(work)
        self._fetches.add(task)
        task.add_done_callback(self._fetches.discard)

    def _miss(self, task: WorkflowTask) -> None:
        """Asks for a task again, with the whole history."""
        miss = WorkflowTaskCacheMiss()
        self._link.report(TaskReport(task_token=task.task_token, workflow_task_cache_miss=miss))

    def _give_up(self, job: Job | None) -> None:
        """Gives up a task that was kept while its run goes from memory, to begin it anew."""
        if job is not None:
            self.forget(job)
            self._miss(job.task)

    def new_machine(self, task: WorkflowTask | QueryTask) -> Machine | None:
        """A run that has applied nothing; None for a workflow type that the worker has not."""
        workflow = self._workflows.get(task.workflow_type)
        if workflow is None:
            return None
        return Machine(
            workflow,
            namespace=task.namespace,
            workflow_id=task.workflow_id,
            run_id=task.run_id,
            task_queue=task.task_queue,
            converter=self._converter,
            interceptors=self._around.interceptors,
        )

    async def _prepare(self, job: Job) -> None:
        """Fetches what did not fit into the task, decodes it all, then queues the job."""
        try:
            job.events = await self._whole_history(job)
            if self._codecs:
                await self.on_user_loop(self.decode(job.events))
        except (RpcError, PayloadError) as error:
            self._tell(job, job.failed(to_failure(error, self._converter)))
            return
        if not self.is_current(job):
            return
        if self._machines.get(job.task.run_id) is not job.machine:
            # It was dropped meanwhile, and so closed: it would ask for nothing any more.
            del self._jobs[job.task.task_token]
            self._miss(job.task)
            return
        self.enqueue(job)

    async def _whole_history(self, job: Job) -> list[HistoryEvent]:
        events = list(job.task.history.events)
        page_token = job.task.next_page_token
        while page_token:
            request = GetWorkflowTaskHistoryRequest(
                task_token=job.task.task_token, page_token=page_token
            )
            page = await self._fetch_history(request)
            events.extend(page.history.events)
            page_token = page.next_page_token
        return events

    async def decode(self, events: Sequence[HistoryEvent]) -> None:
        """Passes events through the codecs."""
        for event in events:
            await self._codecs.decode(event)

    async def on_user_loop(self, code: Coroutine[Any, Any, T]) -> T:
        """Runs code of users where it belongs."""
        # Codecs are code of users, which must not hold up this loop.
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(code, self._around.user_loop)
        )

    def _start_thread(self) -> None:
        self._thread = WorkflowThread(self._queue, self._hand_over)
        self._thread.start()

    def _hand_over(self, job: AnyJob, report: Any) -> None:
        """On the thread of the code: hands a job over to the home loop, its steps first."""
        finished = partial(self._finished, job, report)
        if isinstance(job, Job) and job.begun and not job.left:
            self.kept.launch(job, finished)
        else:
            self._hop.post(finished)

    def _finished(self, job: AnyJob, report: Any) -> None:
        """Takes a job back from the thread; a task has a report only if it could not be run."""
        if isinstance(job, QueryJob):
            self._asked.discard(job)
            self._let_go(job.machine, job.task.run_id)
            self._queries.finished(job, report)
            return
        job.busy = False
        if not self.is_current(job):
            self.kept.discard(job)
            return  # lost or abandoned meanwhile
        if report is None:
            self.kept.blocked(job)
        else:
            self.end(job, report)

    async def _encode_and_tell(self, job: Job, report: TaskReport) -> None:
        try:
            report = await self.on_user_loop(self._codecs.encoded(report))
        except Exception as error:  # noqa: BLE001  # a codec of the author may raise anything
            report = job.failed(to_failure(error, self._converter))
        self._tell(job, report)

    def _tell(self, job: Job, report: TaskReport) -> None:
        if not self.is_current(job):
            return  # lost or abandoned meanwhile
        self.forget(job)
        run_id = job.task.run_id
        if job.machine.closed or report.HasField("workflow_task_failed"):
            self.drop_runs((run_id,))
        elif job.machine.dropped:
            self._let_go(job.machine, run_id)
        else:
            self._evict()
        self._link.report(report, run_id)

    def _evict(self) -> None:
        """Keeps the cache within its bound; runs in work are the last to go."""
        excess = len(self._machines) - max(self._cached_runs_max, len(self._jobs))
        if excess <= 0:
            return
        working = {job.task.run_id for job in self._jobs.values()}
        idle = [run_id for run_id in self._machines if run_id not in working]
        for run_id in idle[:excess]:
            self.drop_runs((run_id,))
            self._link.evicted(run_id)

    def _let_go(self, machine: Machine, run_id: str) -> None:
        """Forgets a run that a query has changed: the next task plays its history anew."""
        if machine.dropped and self._machines.get(run_id) is machine:
            self.drop_runs((run_id,))
            self._link.evicted(run_id)

    def _watch(self) -> None:
        """Leaves the thread behind when one job has taken it for longer than the time limit.

        Counts its own ticks, not the clock: a process that was stopped has not computed.
        """
        self._tick = None
        job, ticks = self._stuck
        current = self._thread.job
        self._stuck = (current, ticks + 1 if current is job else 0)
        if current is not None and self._stuck[1] >= _TICKS_PER_LIMIT:
            self._abandon(current)
        self._watch_over()

    def _watch_over(self) -> None:
        if (self._jobs or self._asked) and self._tick is None:
            self._tick = self._loop.call_later(self._time_limit_s / _TICKS_PER_LIMIT, self._watch)

    def _answer(self, answer: QueryAnswer) -> None:
        self._link.answer(answer)

    def _abandon(self, job: AnyJob) -> None:
        stack = self._leave(job)
        if stack is None:
            return
        message = f"the workflow code did not wait for anything in {self._time_limit_s:g} s"
        _log.error("%s; it was found at\n%s", message, stack)
        failure = Failure(type="WorkflowTaskTimeout", message=message, stack_trace=stack)
        self._finished(job, job.failed(failure))

    def _leave(self, job: AnyJob) -> str | None:
        """Goes on with a new thread; returns the stack of the old one, None if it had finished."""
        stack = self._thread.abandon(job)
        if stack is None:
            return None
        # The thread inside of the machine closes it, nobody else.
        job.machine.forsake()
        if self._machines.get(job.task.run_id) is job.machine:
            del self._machines[job.task.run_id]
            self._link.evicted(job.task.run_id)
            kept = self.kept.drop(job.task.run_id)
            self._give_up(None if kept is job else kept)
        self._queue = _without(self._queue, job.machine.close)
        self._start_thread()
        return stack


def _without(queue: Work, left_out: Callable[[], None]) -> Work:
    """Moves what waits in a queue that nobody reads any more."""
    moved: Work = SimpleQueue()
    while not queue.empty():
        work = queue.get_nowait()
        if work != left_out:
            moved.put(work)
    return moved


def _unknown(task: WorkflowTask) -> TaskReport:
    failure = Failure(
        type="UnknownWorkflow", message=f"the worker has no workflow named {task.workflow_type!r}"
    )
    return TaskReport(
        task_token=task.task_token, workflow_task_failed=WorkflowTaskFailure(failure=failure)
    )
