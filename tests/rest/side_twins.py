"""Two servers that live through the same: one is called natively, the other over REST."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import namespace_service_pb2 as namespaces
from perdure.v1 import schedule_service_pb2 as schedules
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as workflow
from perdure_server.app import listening, running_engine
from tests.api.calls import Caller
from tests.api.flows import Flows
from tests.rest.side_rest import Rest
from tests.support.clock import ManualClock
from tests.support.envoy import running_envoy
from tests.support.ids import SequentialIds
from tests.support.model_store import ModelStore

ALL = 1000
"""The largest page: no case makes as much."""


class Room:
    """Calls natively, in one namespace."""

    def __init__(self, caller: Caller, namespace: str) -> None:
        self.namespace = namespace
        self.converse = caller.converse
        self._caller = caller

    def call(self, method, request):
        return self._caller.call(method, self._placed(request))

    def stream(self, method, request):
        return self._caller.stream(method, self._placed(request))

    def _placed(self, request):
        where = getattr(request, "start", request)
        if "namespace" in where.DESCRIPTOR.fields_by_name:
            where.namespace = self.namespace
        return request


@dataclass
class Side:
    """One of the servers, with its native caller."""

    store: ModelStore
    clock: ManualClock
    caller: Caller

    def flows(self, namespace: str) -> Flows:
        flows = Flows(Room(self.caller, namespace))
        flows.namespace = namespace
        return flows

    async def state(self, namespace: str):
        """Returns what native readers of a namespace are told, and all that is stored."""
        room = Room(self.caller, namespace)
        listed = workflow.ListWorkflowsRequest(page_size=ALL)
        told = {"runs": await room.call("WorkflowService/ListWorkflows", listed)}
        for run in told["runs"].workflows:
            for method, request in _reads(run):
                told[method, run.run_id] = await room.call(f"WorkflowService/{method}", request)
        for method, request in _lists():
            told[method] = await room.call(method, request)
        return told, rows_of(self.store)


@dataclass
class Twins:
    """Both servers, and the REST door of the second."""

    native: Side
    rest: Side
    door: Rest

    def tick(self) -> None:
        """Lets some time pass, so that what is written now can be told from what was."""
        for side in (self.native, self.rest):
            side.clock.advance(1)

    async def given(self, case):
        """Makes on both sides what a case begins with; returns the names that they learnt."""
        learnt = []
        for side in (self.native, self.rest):
            known = await case.given(side.flows(case.name))
            learnt.append({**known, "namespace": case.name})
        self.tick()
        return learnt

    async def both_states(self, namespace: str):
        """Returns the state of either side; they must have the same."""
        (told, rows), (told_rest, rows_rest) = [
            await side.state(namespace) for side in (self.native, self.rest)
        ]
        assert told_rest == told
        assert rows_rest == rows
        return told, rows


@asynccontextmanager
async def running_twins() -> AsyncIterator[Twins]:
    """Runs both with equal ids and clocks, and an Envoy in front of the second."""
    async with AsyncExitStack() as stack:
        sides = []
        for _ in range(2):
            store, clock = ModelStore(), ManualClock()
            engine = await stack.enter_async_context(running_engine(store, clock, SequentialIds()))
            address = await stack.enter_async_context(listening(engine, "127.0.0.1:0", 0))
            caller = Caller(address)
            stack.push_async_callback(caller.close)
            sides.append(Side(store, clock, caller))
        envoy = await stack.enter_async_context(running_envoy(address))
        yield Twins(*sides, Rest(envoy.address))


def rows_of(store: ModelStore) -> list[str]:
    """Returns each row of a store as text: cheap to keep, and to tell where two stores part."""
    disk = store._disk
    tables = (disk.requests, disk.namespaces, disk.keys, disk.schedules)
    items = [item for table in tables for item in table.items()]
    return [repr(row) for row in (*disk.runs.values(), *disk.log, *items, disk.last)]


def _lists():
    return (
        ("WorkerService/ListWorkers", worker.ListWorkersRequest(page_size=ALL)),
        ("AdminService/ListQueues", admin.ListQueuesRequest(page_size=ALL)),
        ("AdminService/ListApiKeys", admin.ListApiKeysRequest(page_size=ALL)),
        ("ScheduleService/ListSchedules", schedules.ListSchedulesRequest(page_size=ALL)),
        ("NamespaceService/ListNamespaces", namespaces.ListNamespacesRequest(page_size=ALL)),
    )


def _reads(run):
    named = {"workflow_id": run.workflow_id, "run_id": run.run_id}
    return (
        ("GetWorkflow", workflow.GetWorkflowRequest(**named)),
        ("GetWorkflowHistory", workflow.GetWorkflowHistoryRequest(**named)),
    )
