"""The rows that applications call, said twice."""

from __future__ import annotations

from tests.rest import side_given as given
from tests.rest.side_case import RETRIES, RETRIES_JSON, Case, Stream, W, value

UPDATE = "POST /workflows/{id}/update/{name}"
QUERY = "POST /workflows/{id}/query/{name}"
VALUE = "GET /workflows/{id}/state/{name}"
NO_STATE = "SNAPSHOT_NOT_FOUND"
ORDER = {"workflow_id": "o", "workflow_type": "order"}
ORDER_JSON = '{"workflow_id":"o","workflow_type":"order"}'

STARTS = (
    Case("start", "POST /workflows", ORDER, ORDER_JSON),
    Case(
        "start with all",
        "POST /workflows",
        {
            **ORDER,
            "task_queue": "shop",
            "input": value('{"z":1,"a":[12345678901234567890.5, null]}'),
            "request_id": "r-9",
            "retry_policy": RETRIES,
            "execution_timeout": {"seconds": 3600},
            "run_timeout": {"seconds": 60, "nanos": 500_000_000},
            "start_delay": {"seconds": 5},
            "priority": 1,
        },
        '{"workflow_id":"o","workflow_type":"order","task_queue":"shop","priority":1,"input":'
        '{"z":1,"a":[12345678901234567890.5, null]},"request_id":"r-9","retry_policy":'
        "{" + RETRIES_JSON + '},"execution_timeout_secs":3600,"run_timeout_secs":60.5,'
        '"start_delay_secs":5}',
    ),
    Case(
        "start with attributes",
        "POST /workflows",
        {
            **ORDER,
            "search_attributes": {
                "values": {
                    "team": {"keyword": "a"},
                    "amount": {"int": 12},
                    "share": {"double": 0.5},
                    "vip": {"bool": True},
                    "due": {"datetime": {"seconds": 1_774_746_000}},
                    "tags": {"keyword_list": {"values": ["x", "y"]}},
                    "note": {"text": "late parcel"},
                    "none": {},
                }
            },
            "memo": value('{"by":"ann"}'),
            "summary": "An order",
            "details": "Of *ann*",
        },
        '{"workflow_id":"o","workflow_type":"order","search_attributes":{"team":"a","amount":12,'
        '"share":0.5,"vip":true,"due":"2026-03-29T01:00:00Z","tags":["x","y"],'
        '"note":{"type":"text","value":"late parcel"},"none":null},"memo":{"by":"ann"},'
        '"summary":"An order","details":"Of *ann*"}',
    ),
    Case(
        "start with an attribute of no type",
        "POST /workflows",
        {**ORDER, "search_attributes": {"values": {"": {"int": 1}}}},
        '{"workflow_id":"o","workflow_type":"order","search_attributes":{"team":{"a":1}}}',
        refused="INVALID_REQUEST",
    ),
    Case("start nameless", "POST /workflows", {"workflow_type": "t"}, '{"workflow_type":"t"}'),
    Case(
        "start again",
        "POST /workflows",
        {**ORDER, "request_id": "r-1"},
        ORDER_JSON,
        headers={"idempotency_key": "r-1"},
        given=given.ordered,
        repeats=True,
    ),
    Case(
        "start or use",
        "POST /workflows",
        {**W, "workflow_type": "t", "conflict_policy": "CONFLICT_POLICY_USE_EXISTING"},
        '{"workflow_id":"w","workflow_type":"t","conflict_policy":"use_existing"}',
        given=given.started,
        repeats=True,
    ),
    Case(
        "start anew",
        "POST /workflows",
        {**W, "workflow_type": "t", "reuse_policy": "REUSE_POLICY_ALLOW_DUPLICATE"},
        '{"workflow_id":"w","workflow_type":"t","reuse_policy":"allow_duplicate"}',
        given=given.completed,
    ),
    Case(
        "start a taken id",
        "POST /workflows",
        {**W, "workflow_type": "t"},
        '{"workflow_id":"w","workflow_type":"t"}',
        given=given.started,
        refused="WORKFLOW_ALREADY_EXISTS",
    ),
    Case(
        "start without a type",
        "POST /workflows",
        W,
        '{"workflow_id":"w"}',
        refused="INVALID_REQUEST",
    ),
    Case("execute", "POST /workflows:execute", {"start": ORDER}, ORDER_JSON),
    Case(
        "execute a taken id",
        "POST /workflows:execute",
        {"start": {**W, "workflow_type": "t"}},
        '{"workflow_id":"w","workflow_type":"t"}',
        given=given.completed,
        refused="WORKFLOW_ALREADY_EXISTS",
    ),
)
HELD = (
    Case(
        "pause",
        "POST /workflows/{id}/pause",
        {**W, "reason": "look"},
        '{"reason":"look"}',
        given=given.scheduled,
    ),
    Case(
        "pause a closed one",
        "POST /workflows/{id}/pause",
        W,
        given=given.terminated,
        refused="WORKFLOW_CLOSED",
    ),
    Case("unpause", "POST /workflows/{id}/unpause", W, given=given.paused),
    Case("unpause nobody", "POST /workflows/{id}/unpause", W, refused="WORKFLOW_NOT_FOUND"),
    Case(
        "continue nobody as new",
        "POST /workflows/{id}/continue-as-new",
        W,
        refused="WORKFLOW_NOT_FOUND",
    ),
    Case(
        "continue as new",
        "POST /workflows/{id}/continue-as-new",
        {**W, "input": value("[2]")},
        '{"input":[2]}',
        given=given.signalled,
    ),
)
AGAIN = (
    Case(
        "reset",
        "POST /workflows/{id}/reset",
        {**W, "event_seq": 2, "reason": "bug", "identity": "ann", "drop_signals": True},
        '{"event_seq":2,"reason":"bug","identity":"ann","drop_signals":true}',
        given=given.signalled,
    ),
    Case(
        "reset to an event that there is not",
        "POST /workflows/{id}/reset",
        {**W, "event_seq": 9},
        '{"event_seq":9}',
        given=given.signalled,
        refused="INVALID_REQUEST",
    ),
    Case(
        "reset where a child is open",
        "POST /workflows/{id}/reset",
        {**W, "event_seq": 2},
        '{"event_seq":2}',
        given=given.parent,
    ),
    Case(
        "retry",
        "POST /workflows/{id}/retry",
        {**W, "requested_by": "ann", "reason": "mended"},
        '{"requested_by":"ann","reason":"mended"}',
        given=given.failed_by_activity,
    ),
    Case(
        "retry what has not failed",
        "POST /workflows/{id}/retry",
        {**W, "requested_by": "ann", "reason": "mended"},
        '{"requested_by":"ann","reason":"mended"}',
        given=given.started,
        refused="WORKFLOW_NOT_FAILED",
    ),
)
READS = (
    Case("list", "GET /workflows", {}, given=given.three_started),
    Case(
        "list a page",
        "GET /workflows",
        {"status": "WORKFLOW_STATUS_PENDING", "workflow_type": "checkout", "page_size": 1},
        query="status=pending&type=checkout&limit=1",
        given=given.three_started,
    ),
    Case(
        "list by a filter",
        "GET /workflows",
        {"filter": "team = 'a' AND amount < 5", "order_by": "amount"},
        query="filter=team+%3D+'a'+AND+amount+%3C+5&order_by=amount",
        given=given.attributed,
    ),
    Case(
        "list by a parent",
        "GET /workflows",
        {"filter": "parent_id = 'w'"},
        query="filter=parent_id+%3D+'w'",
        given=given.parent,
    ),
    Case(
        "list by attributes",
        "GET /workflows",
        {"search_attributes": {"values": {"team": {"keyword": "a"}, "amount": {"int": 2}}}},
        query="search_attrs=%7B%22team%22%3A%22a%22%2C%22amount%22%3A2%7D",
        given=given.attributed,
    ),
    Case(
        "list by a bad filter",
        "GET /workflows",
        {"filter": "team = "},
        query="filter=team+%3D+",
        given=given.attributed,
        refused="INVALID_FILTER",
    ),
    Case("count", "GET /workflows:count", {}, given=given.attributed),
    Case(
        "count by team",
        "GET /workflows:count",
        {"filter": "amount > 1 OR amount IS NULL", "group_by": "team"},
        query="filter=amount+%3E+1+OR+amount+IS+NULL&group_by=team",
        given=given.attributed,
    ),
    Case(
        "count by nothing",
        "GET /workflows:count",
        {"group_by": "a b"},
        query="group_by=a%20b",
        refused="INVALID_FILTER",
    ),
    Case("get", "GET /workflows/{id}", W, given=given.signalled),
    Case("get a closed one", "GET /workflows/{id}", W, given=given.terminated),
    Case("get nobody", "GET /workflows/{id}", W, refused="WORKFLOW_NOT_FOUND"),
    Case("result", "GET /workflows/{id}/result", W, given=given.running),
    Case("result of a completed one", "GET /workflows/{id}/result", W, given=given.completed),
    Case("result of a terminated one", "GET /workflows/{id}/result", W, given=given.terminated),
    Case("state", "GET /workflows/{id}/state", W, given=given.published),
    Case("no state", "GET /workflows/{id}/state", W, given=given.started, refused=NO_STATE),
    Case("state of nobody", "GET /workflows/{id}/state", W, refused="WORKFLOW_NOT_FOUND"),
    Case("a value", VALUE, {**W, "name": "a"}, given=given.published),
    Case("a null", VALUE, {**W, "name": "n"}, given=given.published),
    Case("no such value", VALUE, {**W, "name": "b"}, given=given.published, refused=NO_STATE),
    Case("children", "GET /workflows/{id}/children", W, given=given.parent),
    Case("explain", "GET /workflows/{id}/explain", W, given=given.parent),
    Case("explain an activity", "GET /workflows/{id}/explain", W, given=given.beaten),
    Case("explain a cancelled one", "GET /workflows/{id}/explain", W, given=given.cancelling),
    Case("explain a closed one", "GET /workflows/{id}/explain", W, given=given.terminated),
    Case("explain nobody", "GET /workflows/{id}/explain", W, refused="WORKFLOW_NOT_FOUND"),
    Case("get a child", "GET /workflows/{id}", {"workflow_id": "c"}, given=given.parent),
    Case("history of a parent", "GET /workflows/{id}/events", W, given=given.parent),
    Case("history", "GET /workflows/{id}/events", W, given=given.worked),
    Case("history of updates", "GET /workflows/{id}/events", W, given=given.answered),
    Case(
        "history backwards",
        "GET /workflows/{id}/events",
        {**W, "order": "HISTORY_ORDER_DESC", "page_size": 2},
        query="order=desc&limit=2",
        given=given.worked,
    ),
    Case(
        "read an activity", "GET /activities/{id}", {"activity_id": "{token}"}, given=given.beaten
    ),
    Case(
        "read an ended activity",
        "GET /activities/{id}",
        {"activity_id": "{token}"},
        given=given.worked,
    ),
    Case(
        "read no activity",
        "GET /activities/{id}",
        {"activity_id": "nobody"},
        refused="INVALID_TASK_TOKEN",
    ),
)
MOVES = (
    Case(
        "signal",
        "POST /workflows/{id}/signal/{name}",
        {**W, "signal_name": "go/now ü", "payload": value('[1,2.50,"\\u00fc"]')},
        '{"payload":[1,2.50,"\\u00fc"]}',
        given=given.running,
    ),
    Case(
        "signal a closed one",
        "POST /workflows/{id}/signal/{name}",
        {**W, "signal_name": "go"},
        given=given.completed,
        refused="WORKFLOW_CLOSED",
    ),
    Case(
        "update",
        UPDATE,
        {**W, "update_name": "add/now ü", "input": value('[1,2.50,"\\u00fc"]'), "wait": {}},
        '{"input":[1,2.50,"\\u00fc"],"wait_secs":0}',
        given=given.running,
    ),
    Case(
        "update again",
        UPDATE,
        {**W, "update_name": "add", "input": value("[1,2.50]"), "request_id": "u-add"},
        '{"input":[1,2.50],"request_id":"u-add"}',
        given=given.answered,
        repeats=True,
    ),
    Case(
        "update again and be refused",
        UPDATE,
        {**W, "update_name": "take", "input": value("[1,2.50]"), "request_id": "u-take"},
        '{"input":[1,2.50],"request_id":"u-take"}',
        given=given.answered,
        refused="UPDATE_REJECTED",
    ),
    Case(
        "update a closed one",
        UPDATE,
        {**W, "update_name": "add"},
        given=given.completed,
        refused="WORKFLOW_CLOSED",
    ),
    Case(
        "query a snapshot",
        QUERY,
        {**W, "query_name": "z", "mode": "QUERY_MODE_SNAPSHOT"},
        '{"mode":"snapshot"}',
        given=given.published,
        repeats=True,
    ),
    Case(
        "query without a worker",
        QUERY,
        {**W, "query_name": "listed/now ü", "input": value('[1,2.50,"\\u00fc"]'), "wait": {}},
        '{"input":[1,2.50,"\\u00fc"],"mode":"live","wait_secs":0}',
        given=given.running,
        refused="NO_WORKER",
    ),
    Case("query nobody", QUERY, {**W, "query_name": "listed"}, refused="WORKFLOW_NOT_FOUND"),
    Case("update nobody", UPDATE, {**W, "update_name": "add"}, refused="WORKFLOW_NOT_FOUND"),
    Case(
        "cancel",
        "POST /workflows/{id}/cancel",
        {**W, "reason": "enough", "deadline": {"seconds": 9}, "request_id": "c-1"},
        '{"reason":"enough","deadline_secs":9.0,"request_id":"c-1"}',
        given=given.running,
    ),
    Case("cancel at once", "POST /workflows/{id}/cancel", W, given=given.started),
    Case(
        "cancel a closed one",
        "POST /workflows/{id}/cancel",
        W,
        given=given.completed,
        refused="WORKFLOW_NOT_FOUND",
    ),
    Case(
        "terminate",
        "POST /workflows/{id}/terminate",
        {**W, "reason": "over"},
        '{"reason":"over"}',
        given=given.working,
    ),
    Case(
        "terminate a closed one",
        "POST /workflows/{id}/terminate",
        W,
        given=given.completed,
        refused="WORKFLOW_NOT_FOUND",
    ),
    Case(
        "schedule an activity",
        "POST /workflows/{id}/activities",
        {
            **W,
            "seq": 7,
            "name": "audit",
            "task_queue": "other",
            "input": value("[1]"),
            "options": {"retry_policy": RETRIES, "start_to_close_timeout": {"seconds": 9}},
        },
        '{"seq":7,"name":"audit","task_queue":"other","input":[1],"start_to_close_secs":9,'
        + RETRIES_JSON
        + "}",
        given=given.running,
    ),
    Case(
        "schedule an activity again",
        "POST /workflows/{id}/activities",
        {**W, "seq": 7, "name": "audit"},
        '{"seq":7,"name":"audit"}',
        given=given.outside,
        repeats=True,
    ),
    Case(
        "schedule an activity of a closed one",
        "POST /workflows/{id}/activities",
        {**W, "seq": 1, "name": "audit"},
        '{"seq":1,"name":"audit"}',
        given=given.completed,
        refused="WORKFLOW_CLOSED",
    ),
)
RUN = "GET /workflows/{id}/events/stream"
NO_WATCHES = (
    Case(
        "watch from nowhere",
        "GET /events/stream",
        {"after": "x"},
        query="after=x",
        refused="INVALID_CURSOR",
    ),
    Case("watch no run", RUN, W, refused="WORKFLOW_NOT_FOUND"),
)
CASES = (*STARTS, *HELD, *AGAIN, *READS, *MOVES, *NO_WATCHES)
STREAMS = (
    Stream("watch", "GET /events/stream", {}, 1, meanwhile=((given.worked, 4), (given.finish, 1))),
    Stream(
        "watch some",
        "GET /events/stream",
        {"workflow_id": "b", "kinds": ["workflow_started", "workflow_terminated"]},
        1,
        query="workflow_id=b&kind=workflow_started&kind=workflow_terminated",
        meanwhile=((given.three_started, 2),),
    ),
    Stream(
        "watch on",
        "GET /events/stream",
        {"after": "{cursor}"},
        3,
        query="after=this+counts+less",
        headers={"last_event_id": "{cursor}"},
        given=given.watched,
    ),
    Stream("watch a run", RUN, W, 4, given=given.worked, meanwhile=((given.finish, 1),), ends=True),
    Stream(
        "watch a run on",
        RUN,
        {**W, "after_seq": 2},
        2,
        query="after_seq=2",
        given=given.worked,
        meanwhile=((given.finish, 1),),
        ends=True,
    ),
)
