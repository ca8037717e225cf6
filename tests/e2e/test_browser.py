"""A page of another origin, in a real browser: fetch and EventSource, over a kill of the server."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from urllib.parse import quote

import pytest

from perdure import Client
from tests.e2e.browser import STRANGER, Pages, browsing, find_browser
from tests.e2e.processes import PATIENCE_SECONDS, eventually, has_ended
from tests.support.processes import free_port

SEEN_BEFORE_THE_KILL = 10
"""Events on each stream, so that the kill comes while more are on their way."""
ID = "from a browser/1"
"""The workflow that the page starts."""


@pytest.fixture(autouse=True)
def _browser():
    find_browser()


@pytest.fixture
def pages():
    with Pages() as pages:
        yield pages


def seen(reports, stream):
    """Returns the events that a stream of the page has shown."""
    return [report["seen"] for report in reports if "seen" in report and report["stream"] == stream]


@pytest.mark.timeout(120)
def test_a_page_sees_every_event_over_a_kill_of_the_server(start_dev, pages, tmp_path):
    doors = ("--grpc", f"127.0.0.1:{free_port()}", "--http", f"127.0.0.1:{free_port()}")
    dev = start_dev(*doors)
    with browsing(pages.url("page.html", dev.http), tmp_path):
        pages.wait_until(
            lambda reports: (
                min(len(seen(reports, name)) for name in ("one", "all")) >= SEEN_BEFORE_THE_KILL
            ),
            PATIENCE_SECONDS,
        )
        kill(dev)
        asyncio.run(signal_behind_the_door(tmp_path / "data" / "perdure.db"))
        dev = start_dev(*doors)
        pages.wait_until(lambda reports: "done" in reports[-1], PATIENCE_SECONDS)
    _, history = dev.get(f"/api/v1/workflows/{quote(ID, safe='')}/events")
    assert_complete(pages.reports, history)
    assert_resumed(pages.reports, "one")
    assert_resumed(pages.reports, "all")


def kill(dev):
    envoy = dev.envoy
    dev.kill()
    eventually(lambda: has_ended(envoy))


async def signal_behind_the_door(database):
    """Sends a signal while nobody serves, so that no stream of the page can be there in time."""
    async with Client.embedded(database) as client:
        await client.get_handle(ID).signal("unseen")


def assert_complete(reports, history):
    """Each event of the history was seen once or twice, on both streams, and nothing else."""
    signals = [event["payload"] for event in history if event["event_type"] == "SignalReceived"]
    numbers = [given["payload"]["number"] for given in signals if given["signal"] == "tick"]
    assert numbers == list(range(1, reports[-1]["done"] + 1))
    assert sum(given["signal"] == "unseen" for given in signals) == 1
    for stream in ("one", "all"):
        counts = Counter(event["seq"] for event in seen(reports, stream))
        assert set(counts) == {event["seq"] for event in history}
        assert set(counts.values()) <= {1, 2}
        assert {event["workflow"] for event in seen(reports, stream)} == {ID}


def assert_resumed(reports, stream):
    """The browser connected again by itself, and the server went on where the last id was."""
    own = [report for report in reports if report.get("stream") == stream]
    states = [report["state"] for report in own if "state" in report]
    assert states[0] == "open"
    assert "connecting" in states
    assert states.index("closed") == len(states) - 1  # only the page itself closes it
    before = [report["seen"]["seq"] for report in own if report.get("opened") == 1]
    after = [report["seen"]["seq"] for report in own if report.get("opened") == 2]
    assert before == list(range(1, before[-1] + 1))
    assert after[0] in (before[-1], before[-1] + 1)
    assert all(event["id"] == event["last"] for event in seen(reports, stream))


def test_a_page_of_a_strange_origin_is_refused(start_dev, pages, tmp_path):
    dev = start_dev("--log-level", "info")
    with browsing(pages.url("stranger.html", dev.http, host=STRANGER), tmp_path):
        pages.wait_until(lambda reports: reports, PATIENCE_SECONDS)
    assert pages.reports == [
        {
            "outcomes": {
                "read": "refused",
                "plain": "refused",
                "blind": "opaque",
                "asked": "refused",
                "follow": "closed",
            }
        }
    ]
    assert dev.get("/api/v1/workflows") == (200, [])
    # It was this server that refused, and not the browser that never asked.
    calls = [json.loads(line) for line in dev.stop()[1].splitlines()]
    passed = [(call["method"], call["status"]) for call in calls if call.get("path")]
    refused = [("GET", 403), ("POST", 403), ("POST", 403), ("OPTIONS", 403), ("GET", 403)]
    assert passed == [*refused, ("GET", 200)]
