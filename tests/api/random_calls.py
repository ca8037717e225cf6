"""Random calls of callers and workers, answered by the model and by each backend alike.

After each call it is looked at what it changed: all disks have it, and what holds for every run at
any time holds for those. A failure tells its steps.
"""

from __future__ import annotations

from copy import deepcopy

from perdure.v1 import namespace_service_pb2 as names
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.interaction_pb2 import GetSnapshotRequest, UpdateWorkflowRequest
from perdure.v1.search_attributes_pb2 import SearchAttribute, SearchAttributes
from perdure_server.core.limits import RETENTION_INTERVAL_US, SECOND_US
from perdure_server.core.model import TaskKind
from tests.api import truths
from tests.api.random_commands import commands_of
from tests.api.trio import Trio
from tests.core import life

TYPE = "checkout"
"""One only: which of several a worker is given first is not promised."""
SIDE = "side"
"""A namespace that comes and goes."""


class RandomCalls:
    """Few workflows, so that calls meet. `disks` are those of the three servers."""

    def __init__(self, disks, runner):
        self.runner = runner
        self.trio = Trio(disks)
        self.seen = {}
        self.tasks = []
        self.told = []

    def play(self, steps):
        """Takes the steps, then looks at everything once more, with the eyes of new servers."""
        self.runner.run(self.trio.open())
        taken = []
        try:
            self.keep("create", 0)
            for kind, fields in steps:
                taken.append(f"{kind} {fields}")
                getattr(self, kind)(**fields)
            self.restart()
            for run_id in self.runs:
                self.look_at(run_id)
            self.runner.run(truths.look_around(self.trio))
        except BaseException as error:
            error.add_note("\n".join(["The steps were:", *taken]))
            raise
        finally:
            self.runner.run(self.trio.close())

    @property
    def runs(self):
        """What the model has on its disk."""
        return self.trio.model.store._contents.runs

    def call(self, method, request):
        answer = self.runner.run(self.trio.call(method, request))
        self.look_at_changes()
        return answer

    def ask(self, rpc, /, **fields):
        request = getattr(pb, f"{rpc}Request", None) or UpdateWorkflowRequest
        return self.call(f"WorkflowService/{rpc}", request(**fields))

    def read(self, question):
        return self.runner.run(self.trio.read(question))

    def look_at_changes(self):
        for run_id in self.seen.keys() - self.runs.keys():
            del self.seen[run_id]
        for run_id, stored in list(self.runs.items()):
            before = self.seen.get(run_id)
            if before is None or before.version != stored.run.version:
                self.look_at(run_id)
                truths.hold(stored, before)
                self.seen[run_id] = deepcopy(stored.run)

    def look_at(self, run_id):
        """All disks have the same of a run."""
        self.runner.run(truths.look_at(self.trio, run_id))

    def one_of(self, number):
        """Names a workflow, or one of its runs."""
        run_ids = sorted(self.runs)
        if run_ids and number % 4 == 0:
            run = self.runs[run_ids[number % len(run_ids)]].run
            fields = {"workflow_id": run.workflow_id, "run_id": run.run_id}
            return fields | {"namespace": run.namespace}
        return workflow(number)

    # What callers do.

    def start(self, number, request_id, conflict, reuse, options):
        policies = {"conflict_policy": conflict, "reuse_policy": reuse}
        request = a_start(number, options, request_id=request_id, **policies)
        self.call("WorkflowService/StartWorkflow", request)

    def start_with(self, number, request_id, signal, options):
        start = a_start(number, options, request_id=request_id)
        if signal:
            self.ask("SignalWithStart", start=start, signal_name="go")
        else:
            self.ask("UpdateWithStart", start=start, update_name="add", wait={})

    def signal(self, number, name, request_id):
        self.ask("SignalWorkflow", **self.one_of(number), signal_name=name, request_id=request_id)

    def update(self, number, name, request_id):
        fields = {"update_name": name, "request_id": request_id, "wait": {}}
        self.ask("UpdateWorkflow", **self.one_of(number), **fields)

    def cancel(self, number, request_id, deadline):
        deadline = deadline and life.seconds(deadline)
        self.ask("CancelWorkflow", **self.one_of(number), request_id=request_id, deadline=deadline)

    def operate(self, number, what, request_id):
        self.ask(f"{what}Workflow", **self.one_of(number), reason="why", request_id=request_id)

    def continue_as_new(self, number, request_id):
        self.ask("ContinueAsNew", **self.one_of(number), request_id=request_id)

    def reset(self, number, seq, request_id, drop):
        fields = {"event_seq": seq, "request_id": request_id, "drop_signals": drop}
        self.ask("ResetWorkflow", **self.one_of(number), **fields)

    def retry(self, number, request_id):
        fields = {"reason": "why", "requested_by": "ann", "request_id": request_id}
        self.ask("RetryFailedActivity", **self.one_of(number), **fields)

    def schedule_outside(self, number, seq, options, request_id):
        fields = {"seq": seq, "name": "charge", "request_id": request_id}
        options = activity_options(options)
        self.ask("ScheduleActivity", **self.one_of(number), **fields, options=options)

    def operate_activity(self, number, seq, what, request_id):
        fields = {"activity_seq": seq, "request_id": request_id}
        self.ask(f"{what}Activity", **self.one_of(number), **fields)

    def change_activity(self, number, seq, options, request_id):
        fields = {"activity_seq": seq, "request_id": request_id, "priority": options % 3}
        options = activity_options(options)
        self.ask("UpdateActivityOptions", **self.one_of(number), **fields, options=options)

    # What workers do.

    def take(self, kind, number):
        self.poll(kind, number)

    def work(self, number, numbers):
        """Takes a workflow task and reports on it."""
        task = self.poll(TaskKind.WORKFLOW, number)
        if task is not None:
            self.report(self.tasks.pop(), numbers)

    def serve(self, number):
        """Takes an activity task and reports on it."""
        task = self.poll(TaskKind.ACTIVITY, number)
        if task is not None:
            self.report(self.tasks.pop(), [number])

    def report_late(self, number, numbers, again):
        if not self.tasks:
            return
        task = self.tasks[number % len(self.tasks)]
        if not again:
            self.tasks.remove(task)
        self.report(task, numbers or [number])

    def report_again(self, number):
        """Says what was said before; the answer is the one of then, or the task is stale."""
        if self.told:
            method, request = self.told[-1 - number % min(3, len(self.told))]
            self.call(method, request)

    def heartbeat(self, number, details):
        if not self.tasks:
            return
        _, task = self.tasks[number % len(self.tasks)]
        request = worker.HeartbeatActivityRequest(task_token=task.task_token)
        if details:
            request.details.data = b"%d" % number
        self.call("WorkerService/HeartbeatActivity", request)

    def poll(self, kind, number):
        namespace = workflow(number).get("namespace", "main")
        name = f"Poll{kind.name.capitalize()}Task"
        fields = {"namespace": namespace, "task_queue": "default", "worker_id": "ann", "wait": {}}
        answer = self.call(f"WorkerService/{name}", getattr(worker, f"{name}Request")(**fields))
        if isinstance(answer, tuple) or not answer.HasField("task"):
            return None
        self.tasks.append((kind, answer.task))
        return answer.task

    def report(self, taken, numbers):
        kind, task = taken
        method, request = (
            self.workflow_report(task, numbers)
            if kind is TaskKind.WORKFLOW
            else activity_report(task, numbers[0])
        )
        self.told.append((f"WorkerService/{method}", request))
        self.call(f"WorkerService/{method}", request)

    def workflow_report(self, task, numbers):
        if numbers and numbers[0] > 90:
            failure = {"message": "no such code"}
            request = worker.FailWorkflowTaskRequest(task_token=task.task_token, failure=failure)
            return "FailWorkflowTask", request
        stored = self.runs.get(task.run_id)
        commands = commands_of(stored, numbers) if stored is not None else []
        return "CompleteWorkflowTask", worker.CompleteWorkflowTaskRequest(
            task_token=task.task_token, worker_id="ann", commands=commands
        )

    # What happens by itself.

    def wait(self, seconds):
        self.runner.run(self.trio.advance(int(seconds * SECOND_US)))
        self.look_at_changes()

    def restart(self):
        """Ends the servers; others go on with what is on their disks."""
        self.runner.run(self.trio.restart())
        self.look_at_changes()

    def keep(self, what, seconds):
        """Says how long closed runs are kept; or nothing of a namespace is."""
        retention = life.seconds(seconds) if seconds else None
        if what == "create":
            request = names.CreateNamespaceRequest(name=SIDE, retention=retention)
        elif what == "update":
            request = names.UpdateNamespaceRequest(name=SIDE, retention=life.seconds(9))
        else:
            request = names.DeleteNamespaceRequest(name=SIDE, force=what == "delete all")
        self.call(f"NamespaceService/{what.split()[0].capitalize()}Namespace", request)
        if what == "update":
            self.runner.run(self.trio.advance(RETENTION_INTERVAL_US))
            self.look_at_changes()

    # What callers read.

    def list(self, text, order, size, side):
        fields = {"namespace": SIDE if side else "", "filter": text}
        token = ""
        for _ in range(3):
            page = {"order_by": order, "page_size": size, "page_token": token}
            answer = self.ask("ListWorkflows", **fields, **page)
            token = "" if isinstance(answer, tuple) else answer.next_page_token
            if not token:
                break
        self.ask("CountWorkflows", **fields)
        self.ask("CountWorkflows", **fields, group_by="status")

    def show(self, number):
        fields = self.one_of(number)
        self.ask("GetWorkflow", **fields)
        self.ask("GetWorkflowResult", **fields, wait={})
        self.ask("GetWorkflowHistory", **fields, page_size=3, order=number % 3)
        self.ask("ListChildren", **fields)
        self.ask("ExplainWorkflow", **fields)
        self.call("WorkflowService/GetSnapshot", GetSnapshotRequest(**fields))


def workflow(number):
    """Names one of few workflows."""
    namespace = {"namespace": SIDE} if number % 4 == 3 else {}
    return {"workflow_id": f"w-{number % 4}", **namespace}


def a_start(number, options, **fields):
    """Returns a request to start a workflow, with few or no options."""
    request = pb.StartWorkflowRequest(**workflow(number), workflow_type=TYPE, **fields)
    if options % 12 == 0:
        request.run_timeout.CopyFrom(life.seconds(4))
    if options % 17 == 0:
        request.execution_timeout.CopyFrom(life.seconds(9))
    if options % 4 == 0:
        request.start_delay.CopyFrom(life.seconds(2))
    if options % 3 == 0:
        request.retry_policy.CopyFrom(life.attempts(2))
    if options % 2 == 0:
        values = {"size": SearchAttribute(int=options % 6), "team": SearchAttribute(keyword="a")}
        request.search_attributes.CopyFrom(SearchAttributes(values=values))
    return request


def activity_options(number):
    """Returns options of an activity, of which some run out soon."""
    retry = life.attempts(number % 4) if number % 4 else None
    seconds = [{}, {"start_to_close": 3}, {"heartbeat": 2}, {"schedule_to_close": 6}]
    return life.options(retry=retry, **seconds[number % 3 + number % 2])


def activity_report(task, number):
    if number % 2:
        result = {"data": b"%d" % number}
        request = worker.CompleteActivityRequest(task_token=task.task_token, result=result)
        return "CompleteActivity", request
    failure = {"message": "no", "non_retryable": number % 4 == 0}
    request = worker.FailActivityRequest(task_token=task.task_token, failure=failure)
    return "FailActivity", request
