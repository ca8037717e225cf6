"""That nothing an application asks of the server passes its interceptors by, whatever it asks."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from typing import Any

import pytest

from perdure import Client, ClientInterceptor, Start
from perdure._handles import WorkflowHandle
from perdure._joint_starts import SignalStart, UpdateStart
from perdure._operations import PendingActivity
from perdure._schedules import ScheduleHandle
from perdure._transport import _RESPONSE_TYPES
from perdure.errors import RpcError, from_reason

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

CALLS: dict[tuple[type, str], Any] = {
    (Client, "start"): lambda c: c.start("pay", id="w"),
    (Client, "execute"): lambda c: c.execute("pay", id="w"),
    (Client, "start_batch"): lambda c: c.start_batch([Start("pay", id="w")]),
    (Client, "list"): lambda c: c.list(),
    (Client, "count"): lambda c: c.count(),
    (Client, "count_by"): lambda c: c.count_by("status"),
    (Client, "complete_activity"): lambda c: c.complete_activity("token"),
    (Client, "fail_activity"): lambda c: c.fail_activity("token", ValueError("no")),
    (Client, "heartbeat_activity"): lambda c: c.heartbeat_activity("token"),
    (Client, "create_schedule"): lambda c: c.create_schedule("s", "pay", cron="0 3 * * *"),
    (Client, "list_schedules"): lambda c: c.list_schedules(),
    (SignalStart, "start"): lambda c: c.signal_with_start("go").start("pay", id="w"),
    (UpdateStart, "start"): lambda c: c.update_with_start("add", 1).start("pay", id="w"),
    (WorkflowHandle, "result"): lambda c: c.get_handle("w").result(),
    (WorkflowHandle, "signal"): lambda c: c.get_handle("w").signal("go"),
    (WorkflowHandle, "cancel"): lambda c: c.get_handle("w").cancel(),
    (WorkflowHandle, "terminate"): lambda c: c.get_handle("w").terminate(),
    (WorkflowHandle, "pause"): lambda c: c.get_handle("w").pause(),
    (WorkflowHandle, "unpause"): lambda c: c.get_handle("w").unpause(),
    (WorkflowHandle, "continue_as_new"): lambda c: c.get_handle("w").continue_as_new(),
    (WorkflowHandle, "reset"): lambda c: c.get_handle("w").reset(3),
    (WorkflowHandle, "retry_failed_activity"): (
        lambda c: c.get_handle("w").retry_failed_activity("ada", "mended")
    ),
    (WorkflowHandle, "describe"): lambda c: c.get_handle("w").describe(),
    (WorkflowHandle, "history"): lambda c: c.get_handle("w").history(),
    (WorkflowHandle, "children"): lambda c: c.get_handle("w").children(),
    (WorkflowHandle, "watch"): lambda c: c.get_handle("w").watch(),
    (WorkflowHandle, "update"): lambda c: c.get_handle("w").update("add", 1),
    (WorkflowHandle, "query"): lambda c: c.get_handle("w").query("total"),
    (WorkflowHandle, "state"): lambda c: c.get_handle("w").state(),
    (PendingActivity, "pause"): lambda c: c.get_handle("w").activity(1).pause(),
    (PendingActivity, "unpause"): lambda c: c.get_handle("w").activity(1).unpause(),
    (PendingActivity, "reset"): lambda c: c.get_handle("w").activity(1).reset(),
    (PendingActivity, "update_options"): (
        lambda c: c.get_handle("w").activity(1).update_options(priority=2)
    ),
    (ScheduleHandle, "describe"): lambda c: c.get_schedule("s").describe(),
    (ScheduleHandle, "update"): lambda c: c.get_schedule("s").update(cron="0 4 * * *"),
    (ScheduleHandle, "pause"): lambda c: c.get_schedule("s").pause(),
    (ScheduleHandle, "resume"): lambda c: c.get_schedule("s").resume(),
    (ScheduleHandle, "trigger"): lambda c: c.get_schedule("s").trigger(),
    (ScheduleHandle, "backfill"): lambda c: c.get_schedule("s").backfill(NOON, NOON),
    (ScheduleHandle, "preview"): lambda c: c.get_schedule("s").preview(),
    (ScheduleHandle, "delete"): lambda c: c.get_schedule("s").delete(),
}

OPERATIONS = {
    SignalStart: "signal_with_{}",
    UpdateStart: "update_with_{}",
    PendingActivity: "{}_activity",
    ScheduleHandle: "{}_schedule",
}
"""How operations are called that are not named like the method."""

NO_CALLS_OF_CLIENTS = {
    "AdminService",
    "NamespaceService",
    "WatchService/Watch",
    "WorkerService",
    "WorkflowService/ExecuteWorkflow",  # in the session only
    "WorkflowService/ExplainWorkflow",
    "WorkflowService/GetActivity",
    "WorkflowService/GetSnapshotValue",
    "WorkflowService/ScheduleActivity",
    "WorkflowService/Session",
}
"""What the client of this SDK has no method for. One that gets a method is taken out of here."""


class Closed:
    """A server that lets nobody in, and notes who came."""

    def __init__(self):
        self.asked: list[str] = []

    async def open(self): ...

    async def close(self): ...

    async def call(self, method, request, *, timeout_s=None):
        self.asked.append(method)
        raise from_reason("", "not you", "PERMISSION_DENIED")

    async def stream(self, method, requests):
        self.asked.append(method)
        raise from_reason("", "not you", "PERMISSION_DENIED")
        yield


class RefusedError(Exception):
    """An interceptor does not want the call to be made."""


class Guard(ClientInterceptor):
    """Notes what is asked, and refuses it unless told otherwise."""

    def __init__(self, *, refuses: bool) -> None:
        self.refuses = refuses
        self.seen: list[str] = []

    async def call(self, call, proceed):
        self.seen.append(call.operation)
        if self.refuses:
            raise RefusedError
        return await proceed(call)


async def ask(make: Any, guard: Guard, *, use_session: bool) -> list[str]:
    """Makes a call, to its end; returns what reached the server."""
    server = Closed()
    client = Client(server, use_session=use_session, interceptors=[guard])
    async with client:
        with pytest.raises(RefusedError if guard.refuses else RpcError):
            await ended(make(client))
    return server.asked


async def ended(answer: Any) -> None:
    """Waits for an answer, or reads it to its end."""
    if inspect.isasyncgen(answer):
        _ = [each async for each in answer]
    else:
        await answer


def methods() -> set[tuple[type, str]]:
    """Returns everything public that an application awaits or iterates over."""
    return {
        (kind, name)
        for kind in {kind for kind, _ in CALLS}
        for name, method in inspect.getmembers(kind)
        if not name.startswith("_")
        and (inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method))
    }


def test_every_public_method_is_asked_here():
    assert methods() == CALLS.keys()


@pytest.mark.parametrize("use_session", [True, False], ids=["session", "unary"])
@pytest.mark.parametrize("method", CALLS, ids=lambda method: f"{method[0].__name__}.{method[1]}")
async def test_nothing_passes_an_interceptor_by(method, use_session):
    assert await ask(CALLS[method], Guard(refuses=True), use_session=use_session) == []

    guard = Guard(refuses=False)
    assert len(await ask(CALLS[method], guard, use_session=use_session)) == 1
    kind, name = method
    named = OPERATIONS.get(kind, "{}").format(name)
    assert guard.seen == [{"update_options_activity": "update_activity_options"}.get(named, named)]


async def test_every_rpc_has_a_method_or_is_known_to_have_none():
    asked: set[str] = set()
    for make in CALLS.values():
        asked.update(await ask(make, Guard(refuses=False), use_session=False))
    without = {
        method
        for method in _RESPONSE_TYPES
        if not {method, method.partition("/")[0]} & NO_CALLS_OF_CLIENTS
    }
    assert without <= asked
    assert {method for method in asked if not method.startswith("WorkerService/")} <= without


async def test_what_an_interceptor_changes_in_a_request_is_sent(address):
    class Renames(ClientInterceptor):
        async def call(self, call, proceed):
            if call.operation == "create_schedule":
                call.request.name, call.arguments = "changed", (2,)
            if call.operation == "list_schedules":
                schedules = await proceed(call)
                return (each async for each in schedules if each.name == "changed")
            return await proceed(call)

    async with Client.connect(address, interceptors=[Renames()]) as client:
        schedule = await client.create_schedule("s", "pay", 1, cron="0 3 * * *")
        assert schedule.name == "changed"
        assert [each.name async for each in client.list_schedules()] == ["changed"]
        spec = (await schedule.describe()).message.spec
        assert spec.input.data == b"2"
