"""Owns the schedules of the chaos tests: each due time starts one workflow, whatever is struck."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

from perdure.errors import PerdureError

SCHEDULES = 5
EVERY = timedelta(seconds=1)
_SETTLE_S = 30.0


class Clockwork:
    """A few schedules that start a workflow each second, for as long as a play lasts."""

    def __init__(self, client):
        self._client = client
        self._first = {}
        self._last = {}

    async def start(self):
        for number in range(SCHEDULES):
            name = f"clock-{number}"
            handle = await self._client.create_schedule(
                name, "tick", every=EVERY, overlap="allow_all", task_queue="nobody"
            )
            described = await handle.describe()
            self._first[name] = described.next_run_at - described.run_count * EVERY

    async def stop(self):
        """Lets the schedules catch up, then ends them after the last due time that has passed."""
        async with asyncio.timeout(_SETTLE_S):
            for name in self._first:
                await self._stop(self._client.get_schedule(name), name)

    async def judge(self, verdict):
        """Adds to a verdict which due times have no workflow, and which have several."""
        started = Counter()
        async for run in self._client.list(workflow_type="tick"):
            started[run.workflow_id] += 1
        for name, first in self._first.items():
            count = (self._last.get(name, first) - first) // EVERY
            due = [f"{name}-{_shown(first + number * EVERY)}" for number in range(count)]
            verdict.lost.update({each: "was not started" for each in due if not started[each]})
        verdict.doubled.update(
            {each: f"started {count} times" for each, count in started.items() if count > 1}
        )
        return sum(started.values())

    async def _stop(self, handle, name):
        while True:
            try:
                described = await handle.describe()
                if described.next_run_at > datetime.now(UTC):
                    paused = await handle.pause()
                    late = paused.run_count - described.run_count
                    self._last[name] = described.next_run_at + late * EVERY
                    return
            except PerdureError:
                pass
            await asyncio.sleep(0.2)


def _shown(at):
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
