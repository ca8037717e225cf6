"""How a handle reads the stream of a run, message by message."""

from __future__ import annotations

from perdure._handles import WorkflowHandle
from perdure.errors import from_reason
from perdure.v1.watch_service_pb2 import WatchWorkflowRequest, WatchWorkflowResponse

AWAY = from_reason("", "the server is away", "UNAVAILABLE")
CURSOR = WatchWorkflowResponse(run_id="r", cursor="r:0")


def event(seq):
    return WatchWorkflowResponse(run_id="r", cursor=f"r:{seq}", event={"seq": seq})


class Patience:
    async def after(self, error):
        pass


class Connection:
    """Answers each stream with what the test says, and keeps what was asked."""

    namespace = "main"

    def __init__(self, *streams):
        self._streams = list(streams)
        self.asked = []

    def patience(self):
        return Patience()

    def yielded(self, call, source):
        return source(call)

    async def stream(self, method, request, answer):
        assert (method, answer) == ("WatchService/WatchWorkflow", WatchWorkflowResponse)
        self.asked.append(WatchWorkflowRequest.FromString(request.SerializeToString()))
        for said in self._streams.pop(0):
            if isinstance(said, Exception):
                raise said
            yield said


async def watch(connection):
    return [event.seq async for event in WorkflowHandle(connection, "w").watch()]


async def test_the_first_message_is_no_event():
    assert await watch(Connection([CURSOR, event(1), event(2)])) == [1, 2]


async def test_goes_on_after_the_last_event_of_the_same_run():
    connection = Connection([CURSOR, event(1), AWAY], [AWAY], [CURSOR, event(2)])
    assert await watch(connection) == [1, 2]
    assert [(asked.run_id, asked.after_seq) for asked in connection.asked] == [
        ("", 0),
        ("r", 1),
        ("r", 1),
    ]


async def test_stays_with_the_run_that_was_named_before_its_first_event():
    connection = Connection([CURSOR, AWAY], [CURSOR])
    assert await watch(connection) == []
    assert [(asked.run_id, asked.after_seq) for asked in connection.asked] == [("", 0), ("r", 0)]
