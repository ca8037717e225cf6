"""Fits generated requests to what no schema can say, so that valid ones are accepted.

Each rule says why it is there. Requests that are meant to be refused pass as they are, but for
their waits.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Any

import schemathesis
from schemathesis.core import NotSet
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.hooks import GLOBAL_HOOK_DISPATCHER

from perdure_server.core.limits import ID_BYTES_MAX, REASON_BYTES_MAX, SECOND_US, WAIT_US_MAX

WAIT_SECONDS_MAX = 0.05
WAIT_ALONE = {"wait_secs": WAIT_SECONDS_MAX}
WAITS_BY_ITSELF = ("/update/{update_name}", "/query/{query_name}")
"""Who does not say how long an update or a query may wait waits for long."""
EMPTY = (None, [])
PAYLOADS = frozenset({"input", "payload", "result", "details"})
NAMED = frozenset({"headers"})
QUERY_LIST_MAX = 400
SAID = {"filter": "amount > 5 or status = 'RUNNING'", "order_by": "amount", "group_by": "status"}
"""A word in each language that a query can speak."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a server gave out."""

    api_key: str
    api_key_prefix: str
    task_tokens: tuple[str, ...]
    numbers: Iterator[int]
    """Counts requests."""


def prepare(address: str) -> Known:
    """Fills a new server with a little of everything."""
    key = _call(address, "POST", "/api-keys", {"label": "fuzz"})
    headers = {"authorization": f"Bearer {key['plaintext']}"}
    tokens = []
    for number in range(3):
        start = {"workflow_id": f"order-{number}", "workflow_type": "checkout", "input": [number]}
        _call(address, "POST", "/workflows", start, headers)
        activity = {"seq": 1, "name": "charge", "input": {"cents": number}}
        path = f"/workflows/order-{number}/activities"
        tokens.append(_call(address, "POST", path, activity, headers)["id"])
    _call(address, "POST", "/workers/register", {"identity": "w", "queue": "default"}, headers)
    return Known(key["plaintext"], key["prefix"], tuple(tokens), count())


class Fitting:
    """Fits requests within its block."""

    def __init__(self, known: Known) -> None:
        def before_call(
            context: schemathesis.HookContext, case: schemathesis.Case, kwargs: Any
        ) -> None:
            shorten_waits(case)
            keep_the_key(case, known)
            if case.meta is not None and case.meta.generation.mode.is_positive:
                fit(case, known)

        def filter_failure(
            context: schemathesis.HookContext,
            failure: Failure,
            case: schemathesis.Case,
            response: schemathesis.Response,
        ) -> bool:
            return not (isinstance(failure, AcceptedNegativeData) and is_valid_after_all(case))

        self._hooks = (before_call, filter_failure)

    def __enter__(self) -> None:
        for hook in self._hooks:
            schemathesis.hook(hook)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hook in self._hooks:
            GLOBAL_HOOK_DISPATCHER.unregister(hook)


def shorten_waits(case: schemathesis.Case) -> None:
    """Lets no call wait for minutes."""
    for values in (case.query, case.body):
        if isinstance(values, dict) and _is_long(values.get("wait_secs")):
            values["wait_secs"] = WAIT_SECONDS_MAX
    if case.operation.path.endswith(WAITS_BY_ITSELF):
        if case.body in EMPTY or isinstance(case.body, NotSet):
            case.body, case.media_type = dict(WAIT_ALONE), "application/json"
        elif isinstance(case.body, dict) and case.body.get("wait_secs") is None:
            case.body["wait_secs"] = WAIT_SECONDS_MAX


def keep_the_key(case: schemathesis.Case, known: Known) -> None:
    """Revokes any key but the one that all calls use."""
    if case.path_parameters.get("prefix") == known.api_key_prefix:
        case.path_parameters["prefix"] = "perdure_00000000"


def is_valid_after_all(case: schemathesis.Case) -> bool:
    """Tells whether a request that was meant to be refused is as it should be.

    No body, `null` and `[]` are described beside an object, and yet are tried as mistakes. The
    namespace of a body wins, so that of the query is not even looked at; so does a request id, and
    the header that may stand for it is not looked at.
    """
    described = case.operation.definition.raw.get("requestBody", {})
    schema = described.get("content", {}).get("application/json", {}).get("schema", {})
    is_empty = case.body in (*EMPTY, WAIT_ALONE) or isinstance(case.body, NotSet)
    if is_empty and "anyOf" in schema:
        return True
    key = case.headers.get("Idempotency-Key", "")
    if case.query.get("request_id") and not re.fullmatch(f"[ -~]{{0,{ID_BYTES_MAX}}}", key):
        return True
    in_body = isinstance(case.body, dict) and case.body.get("namespace")
    return bool(in_body) and "namespace" in case.query


def fit(case: schemathesis.Case, known: Known) -> None:
    """Changes what a schema cannot say."""
    for name in ("task_token", "activity_id"):
        # Opaque: any other text is refused as none of ours.
        if (drawn := case.path_parameters.get(name)) is not None and drawn.count(".") < 4:
            case.path_parameters[name] = known.task_tokens[len(drawn) % len(known.task_tokens)]
    for name in ("page_token", "cursor", "after"):
        case.query.pop(name, None)
    # No schema says a language.
    case.query |= {name: text for name, text in SAID.items() if case.query.get(name)}
    case.headers.pop("Last-Event-ID", None)
    if isinstance(case.body, dict):
        for name in ("task_token", "keep_task"):  # The second needs the first.
            case.body.pop(name, None)
        if "event_seq" in case.body:
            case.body["event_seq"] = 1  # Which events there are, no schema says.
        if str(case.body.get("mode")).upper() == "SNAPSHOT":
            case.body.pop("input", None)  # Nor that of two fields one forbids the other.
    case.path_parameters = _cut(case.path_parameters)
    # A query has at most 1,000 parameters in all, which no bound on one list can say.
    case.query = {
        name: value[:QUERY_LIST_MAX] if isinstance(value, list) else value
        for name, value in _cut(case.query).items()
    }
    case.body = _cut(case.body)
    if "/schedules" in case.path and isinstance(case.body, dict):
        case.body = _with_instants(case.body)
    _use_request_id_once(case, next(known.numbers))


def _with_instants(body: dict[str, Any]) -> dict[str, Any]:
    """No schema says which expressions and zones there are, nor which span has few due times."""
    if "cron_expr" not in body and "start_at" in body and body.get("end_at") is not None:
        return {**body, "end_at": body["start_at"]}
    known = {"cron_expr": "@hourly", "timezone": "UTC", "name": str(body.get("name"))[:50]}
    known["workflow_type"] = "report"
    left_out = ("interval_secs", "interval_offset_secs", "start_at", "end_at", "clear")
    fitted = {name: value for name, value in body.items() if name not in left_out}
    return {**fitted, **{name: known[name] for name in known if name in body or name != "name"}}


def _use_request_id_once(case: schemathesis.Case, number: int) -> None:
    """An id that was used for another request is refused, and the same few are drawn often."""
    if case.headers.get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = f"{number} {case.headers['Idempotency-Key'][:200]}"
    if isinstance(case.body, dict) and case.body.get("request_id"):
        case.body["request_id"] = _cut(f"{number} {case.body['request_id']}")


def _cut(value: Any, key: str = "") -> Any:
    """Bounds are in bytes, and schemas count characters."""
    match value:
        case str():
            bound = REASON_BYTES_MAX if key == "reason" else ID_BYTES_MAX
            return value.encode()[:bound].decode(errors="ignore")
        case list():
            elements = [_cut(element, key) for element in value]
            # No schema says that names differ.
            return (
                list({each["name"]: each for each in elements}.values())
                if key in NAMED
                else elements
            )
        case dict():
            fitted = {k: v if k in PAYLOADS else _cut(v, k) for k, v in value.items()}
            return _with_intervals_in_order(fitted)
    return value


def _with_intervals_in_order(value: dict[str, Any]) -> dict[str, Any]:
    """No schema compares two keys: the first interval is not above the bound of all."""
    high, first = value.get("max_interval_secs"), value.get("initial_interval_secs")
    if isinstance(high, int | float) and (first is None or first > high):
        return {**value, "initial_interval_secs": high}
    return value


def _is_long(wait: object) -> bool:
    try:
        return WAIT_SECONDS_MAX < float(wait) <= WAIT_US_MAX / SECOND_US  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _call(
    address: str, method: str, path: str, body: object, headers: dict[str, str] | None = None
) -> Any:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request(method, f"/api/v1{path}", json.dumps(body), headers or {})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        return json.loads(text)
    finally:
        connection.close()
