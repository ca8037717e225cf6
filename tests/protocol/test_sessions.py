"""Plays the cases of `sessions` with a real server."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from perdure.v1 import worker_service_pb2 as pb
from tests.api.calls import METHODS, Refused
from tests.api.streams import WorkStream
from tests.protocol.cases import as_json, case, names, unlike

PLAY_S = 30


class Play:
    """One case: its workers by name, and what was saved."""

    def __init__(self, caller):
        self._caller = caller
        self._workers = {}
        self._saved = {}
        self._begun = {}

    async def take(self, step):
        if "later" in step:
            self._begun[step["later"]] = asyncio.create_task(self._call(step))
        elif "answer" in step:
            await self._begun.pop(step["answer"])
        elif "call" in step:
            await self._call(step)
        elif "hello" in step or "send" in step:
            hello = {"hello": step["hello"]} if "hello" in step else step["send"]
            request = json_format.ParseDict(self._filled(hello), pb.WorkRequest())
            self._worker(step, is_new="hello" in step).send(request)
        elif "receive" in step:
            item = await self._worker(step).next(step["receive"])
            self._compare(item if isinstance(item, int | str) else as_json(item), step)
        elif "break" in step:
            await self._workers.pop(step["worker"]).close()
        else:
            with pytest.raises(Refused) as refusal:
                await self._worker(step).rest()
            assert unlike(vars(refusal.value), step["refused"]) == ""

    async def end(self):
        for worker in self._workers.values():
            await worker.close()

    async def _call(self, step):
        kind = GetMessageClass(METHODS[step["call"]].input_type)
        request = json_format.ParseDict(self._filled(step["request"]), kind())
        if "refused" not in step:
            self._compare(as_json(await self._caller.call(step["call"], request)), step)
            return
        with pytest.raises(Refused) as refusal:
            await self._caller.call(step["call"], request)
        assert unlike(vars(refusal.value), step["refused"]) == ""

    def _worker(self, step, *, is_new=False):
        name = step["worker"]
        if is_new or name not in self._workers:
            self._workers[name] = WorkStream(self._caller)
        return self._workers[name]

    def _compare(self, found, step):
        found = str(found) if isinstance(found, int) else found
        assert (
            unlike(found, self._filled(step.get("like", {})), step.get("receive", "answer")) == ""
        )
        for name, path in step.get("save", {}).items():
            value = found
            for field in path.split("."):
                value = value[field]
            self._saved[f"${name}"] = value

    def _filled(self, given):
        """What was saved, in place of its names."""
        if isinstance(given, dict):
            return {key: self._filled(value) for key, value in given.items()}
        if isinstance(given, list):
            return [self._filled(value) for value in given]
        return self._saved.get(given, given) if isinstance(given, str) else given


@pytest.mark.parametrize("name", names("sessions"))
async def test_a_session_goes_as_its_case_says(caller, name):
    play = Play(caller)
    async with asyncio.timeout(PLAY_S):
        for number, step in enumerate(case("sessions", name)["steps"], 1):
            try:
                await play.take(step)
            except AssertionError as error:
                error.add_note(f"step {number}: {step}")
                raise
        await play.end()
