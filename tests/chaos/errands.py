"""Owns errands: workflows that are updated, reset and terminated, in namespaces that forget or not.

Callers say many things twice, to two servers, under one request id.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from itertools import count as counting

from perdure.errors import PerdureError, UnavailableError, WorkflowNotFoundError
from tests.chaos.attic import BRIEF, BRIEF_S
from tests.chaos.flows import QUEUE, THINGS, Errand, lingers
from tests.crash.histories import count, faults_of


class Errands:
    """Callers of one namespace, each with errands one after another; and what went wrong."""

    def __init__(self, clients, namespace):
        self._clients = clients
        self._namespace = namespace
        self._numbers = counting(1)
        self._closing_s = {}
        self._run_ids = {}
        self.lost = {}
        self.doubled = {}
        self.refused = {}
        self.updates = 0
        self.resets = 0

    @property
    def run_ids(self):
        """Of every run that was acknowledged, those that resets made as well."""
        return [run_id for run_ids in self._run_ids.values() for run_id in run_ids]

    async def lane(self, is_over):
        """Runs errands until it is told to stop, and finishes the last."""
        while not is_over.is_set():
            number = next(self._numbers)
            name = f"errand-{number}"
            try:
                await self._run(number, name)
            except WorkflowNotFoundError as error:
                self._not_found(name, error)
            except UnavailableError as error:
                self.refused[name] = repr(error)
            except PerdureError as error:
                self.lost[name] = repr(error)

    async def judge(self, verdict):
        """Adds to a verdict what callers were told, and what the histories that stay say."""
        if self._namespace != BRIEF:
            await self._read_all()
        for kind in ("lost", "doubled", "refused"):
            for name, why in getattr(self, kind).items():
                getattr(verdict, kind)[f"{self._namespace} {name}"] = why

    async def _run(self, number, name):
        start = {"id": name, "task_queue": QUEUE, "request_id": f"start-{name}"}
        handles = await self._twice(number, lambda client: client.start(Errand, number, **start))
        self._note(name, handles)
        for thing in range(THINGS):
            # The last one may close the workflow, which may be deleted before it is said again.
            self._closing_s[name] = time.time()
            await self._put(number, name, thing)
        if lingers(number):
            end = {"reason": "enough", "request_id": f"end-{name}"}
            await self._twice(number, lambda client: client.get_handle(name).terminate(**end))
        elif self._namespace != BRIEF:
            self._expect(name, await handles[0].result())
            if number % 2:
                await self._reset(number, name, handles[0])

    async def _put(self, number, name, thing):
        asked = {"request_id": f"put-{name}-{thing}"}
        sizes = await self._twice(
            number, lambda client: client.get_handle(name).update(Errand.put, thing, **asked)
        )
        self.updates += 1
        if set(sizes) != {thing + 1}:
            self.doubled[name] = f"with thing {thing} it had {sizes}"

    async def _reset(self, number, name, handle):
        """Lets a run begin again behind its last update, and waits for what comes of it."""
        history = await handle.history()
        last = max(event.seq for event in history.events if event.HasField("update_completed"))
        asked = {"request_id": f"reset-{name}"}
        again = await self._twice(
            number,
            lambda client: client.get_handle(name, run_id=handle.run_id, workflow=Errand).reset(
                last, **asked
            ),
        )
        self.resets += 1
        self._note(name, again)
        self._expect(name, await again[0].result())

    async def _twice(self, number, call):
        """Says one thing to two servers at once; returns both answers."""
        clients = [self._clients[(number + turn) % len(self._clients)] for turn in range(2)]
        return await asyncio.gather(*map(call, clients))

    def _note(self, name, handles):
        run_ids = {handle.run_id for handle in handles}
        self._run_ids.setdefault(name, []).extend(run_ids)
        if len(run_ids) > 1:
            self.doubled[name] = f"one request made the runs {sorted(run_ids)}"

    def _expect(self, name, result):
        if result != list(range(THINGS)):
            self.lost[name] = f"its result is {result}"

    def _not_found(self, name, error):
        age_s = time.time() - self._closing_s.get(name, time.time())
        if self._namespace != BRIEF or age_s < BRIEF_S:
            self.lost[name] = repr(error)

    async def _read_all(self):
        """Reads every history, and how many runs each errand has."""
        runs = Counter()
        async for run in self._clients[0].list(filter="type = 'Errand'"):
            runs[run.workflow_id] += 1
        for name, run_ids in self._run_ids.items():
            if runs[name] != len(run_ids):
                self.doubled[name] = f"it has {runs[name]} runs, not {len(run_ids)}"
        waiting = [(name, run_id) for name, ids in self._run_ids.items() for run_id in ids]

        async def read(client):
            while waiting:
                name, run_id = waiting.pop()
                try:
                    history = await client.get_handle(name, run_id=run_id).history()
                except PerdureError as error:
                    self.lost[name] = repr(error)
                else:
                    self._look_at(name, history)

        await asyncio.gather(*map(read, self._clients))

    def _look_at(self, name, history):
        if name in self.refused:
            return  # Its caller was refused and has not gone on.
        if not lingers(int(name.removeprefix("errand-"))) and (faults := faults_of(history)):
            self.lost[name] = "; ".join(faults)
        if (puts := count(history, "update_completed")) != THINGS:
            (self.lost if puts < THINGS else self.doubled)[name] = f"it has {puts} updates"
