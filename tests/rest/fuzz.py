"""Tries generated requests on a server through Envoy, and judges each answer by the description.

`python -m tests.rest.fuzz CASES [SEED]` prints how many were tried and every failure.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.generation.meta import CoverageScenario

from perdure_server.rest.openapi import FILE
from tests.rest.fitting import Fitting, prepare
from tests.rest.process import rest_server

SEED = 7766
STREAM_SECONDS = 0.08
"""How long a stream is read; then it is closed, as it never ends."""
STREAM_TRIES = 4
"""A busy machine may take longer to open one."""
WORKERS = 1
"""More than one thread that parses Python at once is more than CPython 3.11 can bear."""
ANSWER_SHOWN = 500
ANSWER_SECONDS = 30
"""No call may take longer, long polls being shortened: nothing may hang."""

REFUSALS = ["400", "401", "403", "404", "409", "410", "413", "429", "431"]
ACCEPTED = ["2xx", "401", "403", "404", "409", "429", "431"]
"""What may become of a valid request: its subject may not exist or be in another state, and a URL
may be too long although each of its parameters is not."""
REPLACED = {
    "unsupported_method": "routes are found by method and path at once, so a wrong method on a"
    " known path may be a 404 as well as a 405; wrong_method_is_refused checks that"
}
"""Checks that are off, each with its reason and what stands for it."""


@dataclass(slots=True)
class Report:
    """What a run has found."""

    cases: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        by_status = ", ".join(f"{count} x {s}" for s, count in sorted(self.statuses.items()))
        by_phase = ", ".join(f"{phase} {count}" for phase, count in self.cases.items())
        lines = [f"{self.cases.total()} cases ({by_phase})", f"answers: {by_status}"]
        lines += [f"replaced: {name}: {reason}" for name, reason in REPLACED.items()]
        lines += [f"{len(self.failures)} failures", *self.failures.values()]
        return "\n".join(lines)


def fuzz(address: str, *, examples: int, seed: int = SEED) -> Report:
    """Tries at most `examples` generated cases per operation and phase, and all fixed ones.

    The server must run with keys and have none yet.
    """
    known = prepare(address)
    document = strict(json.loads(FILE.read_bytes()))
    schema = schemathesis.openapi.from_dict(document, config=configuration(examples, seed))
    schema.config.update(
        base_url=f"http://{address}", headers={"Authorization": f"Bearer {known.api_key}"}
    )
    report = Report()
    with Fitting(known):
        for event in from_schema(schema).execute():
            take(event, report)
    return report


def strict(document: dict[str, Any]) -> dict[str, Any]:
    """Returns the description with answers of the keys described and no other, and with keys."""
    document = copy.deepcopy(document)
    document["security"] = [{"bearer": []}]
    for name, schema in document["components"]["schemas"].items():
        if not name.endswith(("Request", "Input", "Command")) and schema.get("type") == "object":
            schema["additionalProperties"] = False
    return document


def configuration(examples: int, seed: int) -> SchemathesisConfig:
    """Returns all checks but those that are replaced."""
    checks: dict[str, Any] = {name: {"enabled": False} for name in REPLACED}
    checks["negative_data_rejection"] = {"expected-statuses": REFUSALS}
    checks["positive_data_acceptance"] = {"expected-statuses": ACCEPTED}
    streams = {
        "include-name-regex": "/stream$",
        "request-timeout": STREAM_SECONDS,
        "request-retries": STREAM_TRIES - 1,
    }
    checks["max_response_time"] = ANSWER_SECONDS
    return SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "generation": {"deterministic": True, "max-examples": examples, "database": "none"},
            "request-timeout": ANSWER_SECONDS,
            "operations": [streams],
            "checks": checks,
        }
    )


@schemathesis.check
def wrong_method_is_refused(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Stands for `unsupported_method`."""
    scenario = getattr(case.meta.phase.data, "scenario", None) if case.meta else None
    if scenario != CoverageScenario.UNSPECIFIED_HTTP_METHOD or response.request.method == "OPTIONS":
        return
    refusals = {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
    assert response.status_code in refusals, response.status_code
    if response.request.method != "HEAD":
        assert {"error", "reason", "details"} == response.json().keys()


def take(event: events.EngineEvent, report: Report) -> None:
    """Adds what an event of the run says."""
    match event:
        case events.ScenarioFinished():
            report.cases[event.phase.value] += len(event.recorder.interactions)
            for interaction in event.recorder.interactions.values():
                if interaction.response is not None:
                    report.statuses[interaction.response.status_code] += 1
            _take_failures(event, report)
        case events.NonFatalError():
            report.failures[f"{event.label} {event.value!r}"] = f"{event.label}: {event.value!r}"
        case events.FatalError():
            raise event.exception


def _take_failures(event: events.ScenarioFinished, report: Report) -> None:
    for case_id, nodes in event.recorder.checks.items():
        response = event.recorder.find_response(case_id=case_id)
        answer = response.text[:ANSWER_SHOWN] if response is not None else "no answer"
        for node in nodes:
            if node.status is not Status.FAILURE or node.failure_info is None:
                continue
            failure = node.failure_info.failure
            text = f"{failure.operation}: {node.name}: {failure.title}: {failure.message}"
            key = f"{failure.operation} {node.name} {failure.title}"
            report.failures.setdefault(
                key, f"{text}\n    {node.failure_info.code_sample}\n    {answer}"
            )


def main(arguments: list[str]) -> int:
    """Runs until the end and returns the exit code."""
    examples, seed, *_ = [*map(int, arguments), SEED]
    with (
        tempfile.TemporaryDirectory() as folder,
        rest_server(Path(folder), "--auth", "keys") as address,
    ):
        report = fuzz(address, examples=examples, seed=seed)
    sys.stdout.write(f"{report}\n")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
