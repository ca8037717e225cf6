"""Both ends of a stream in the hands of a test: send when it likes, read when it likes."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque

from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as pb
from tests.api.flows import QUEUE


class Conversation:
    """A bidirectional stream; `send` never waits, `read` waits for the next message."""

    def __init__(self, caller, method):
        self._outgoing = asyncio.Queue()
        self._answers = caller.converse(method, self._feed())

    async def _feed(self):
        while (request := await self._outgoing.get()) is not None:
            yield request

    def send(self, request):
        self._outgoing.put_nowait(request)

    def finish(self):
        self._outgoing.put_nowait(None)

    async def read(self):
        return await anext(self._answers)

    async def rest(self):
        return [answer async for answer in self._answers]

    async def close(self):
        await self._answers.aclose()


class WorkStream(Conversation):
    """The stream of a worker; what it reads is kept, by field, until it is asked for."""

    def __init__(self, caller):
        super().__init__(caller, "WorkerService/Work")
        self._inbox = defaultdict(deque)

    def hello(self, session_id="s", **fields):
        defaults = {
            "session_id": session_id,
            "identity": "me",
            "task_queue": QUEUE,
            "workflow_types": ["checkout"],
            "activity_types": ["charge"],
            "slots": {"workflow_tasks": 10, "activity_tasks": 10},
        }
        self.send(worker.WorkRequest(hello=defaults | fields))

    async def next(self, field):
        while not self._inbox[field]:
            answer = await self.read()
            if answer.batch:
                self.send(worker.WorkRequest(received_batch=answer.batch))
            for descriptor, value in answer.ListFields():
                items = value if descriptor.is_repeated else [value]
                self._inbox[descriptor.name].extend(items)
        return self._inbox[field].popleft()

    async def workflow_task(self):
        return await self.next("workflow_tasks")

    async def activity_task(self):
        return await self.next("activity_tasks")

    async def report(self, report_id, task, **report):
        request = worker.TaskReport(report_id=report_id, task_token=task.task_token, **report)
        self.send(worker.WorkRequest(reports=[request]))
        result = await self.next("results")
        assert result.report_id == report_id
        return result


class Session(Conversation):
    """The stream of a client process."""

    def __init__(self, caller):
        super().__init__(caller, "WorkflowService/Session")
        self._replies = {}

    def ask(self, call_id, **call):
        self.send(pb.SessionRequest(calls=[pb.SessionCall(call_id=call_id, **call)]))

    async def reply(self, call_id):
        while call_id not in self._replies:
            for reply in (await self.read()).replies:
                self._replies[reply.call_id] = reply
        return self._replies.pop(call_id)
