"""A worker over REST alone: `rest_worker.py HOST:PORT QUEUE`. It knows nothing of the SDK.

It replays with rules of its own. Code runs from its beginning for every workflow task, and meets
the history by a number per kind, children by their id. What the history lacks it asks for; the
first thing that has not happened yet ends the task. What it asked for before a thing that has
happened went out with an earlier task. It polls at once and for one thing after the other, and
sends no token with its commands.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from http.client import HTTPConnection
from random import Random
from urllib.parse import quote

IDLE_S = 0.05
TIMEOUT_S = 30
ATTEMPT_S = 8
"""When an activity is tried again whose worker was killed."""
STALE = 409


class ActivityError(Exception):
    """An activity or a child has not completed."""


class Cancelled(Exception):
    """The workflow was asked to end."""


class Ended(Exception):
    """The code has ended with a command."""


class Waiting(Exception):
    """The history does not have yet what the code waits for."""


class Replay:
    """What workflow code may do; each call looks the history up and asks for what it lacks."""

    def __init__(self, history):
        # Some events say nothing more.
        self._events = [(event["event_type"], event["payload"] or {}) for event in history]
        self._numbers = {}
        self._is_shielded = False
        self.commands = []

    def side_effect(self, name, make):
        """Makes a value once; it is read from the history ever after."""
        seq = self._next("side_effect")
        found = self._find("SideEffectRecorded", side_effect_seq=seq)
        if found is None:
            self.ask("RecordSideEffect", seq=seq, name=name, value=make())
            raise Waiting
        self.commands.clear()
        return found["value"]

    def activities(self, name, *inputs):
        """Runs activities side by side; returns their results in order."""
        seqs = [self._next("activity") for _ in inputs]
        for seq, given in zip(seqs, inputs, strict=True):
            if self._find("ActivityScheduled", activity_seq=seq) is None:
                self.ask(
                    "ScheduleActivity",
                    seq=seq,
                    name=name,
                    input=given,
                    start_to_close_secs=ATTEMPT_S,
                )
        return [self._result("Activity", activity_seq=seq) for seq in seqs]

    def children(self, workflow_type, inputs, *, meanwhile=lambda: None):
        """Runs children side by side, by workflow id; returns their results in order."""
        for child, given in inputs.items():
            if self._find("ChildWorkflowStarted", child_workflow_id=child) is None:
                self.ask(
                    "StartChildWorkflow",
                    workflow_type=workflow_type,
                    workflow_id=child,
                    input=given,
                )
        with suppress(Waiting):
            meanwhile()
        return [self._result("ChildWorkflow", child_workflow_id=child) for child in inputs]

    def cancel_child(self, workflow_id):
        """Asks a child to end; does not wait for it."""
        if self._find("CancelWorkflowInitiated", workflow_id=workflow_id) is None:
            self.ask("CancelChild", workflow_id=workflow_id)

    def timer(self, seconds):
        """Waits."""
        seq = self._next("timer")
        if self._find("TimerScheduled", timer_seq=seq) is None:
            self.ask("ScheduleTimer", seq=seq, duration_secs=seconds)
        if self._find("TimerFired", timer_seq=seq) is None:
            raise self._not_yet()
        self.commands.clear()

    def signal(self, name):
        """Waits for a signal; returns what it carries."""
        nth = self._next(f"signal {name}")
        heard = [payload for kind, payload in self._events if kind == "SignalReceived"]
        heard = [payload for payload in heard if payload["signal"] == name]
        if len(heard) < nth:
            self.ask("WaitForSignal", name=name)
            raise self._not_yet()
        self.commands.clear()
        return heard[nth - 1]["payload"]

    def show(self, state):
        """Publishes what the code is at; said again with every task until the code is past it."""
        self.ask("RecordSnapshot", state=state)

    def find_by(self, **attributes):
        """Sets search attributes; said again with every task until the code is past it."""
        self.ask("UpsertSearchAttributes", patch=attributes)

    def continue_as_new(self, given):
        """Ends this run and begins the next."""
        self.ask("ContinueAsNew", input=given)
        raise Ended

    def ask(self, command, **fields):
        """Adds a command."""
        self.commands.append({"type": command, **fields})

    def shielded(self):
        """From now on nothing is given up because the workflow was asked to end."""
        self._is_shielded = True
        return self

    def _result(self, family, **of):
        done = self._find(f"{family}Completed", **of)
        if done is not None:
            self.commands.clear()
            return done["result"]
        for kind in ("Failed", "TimedOut", "Cancelled"):
            failed = self._find(family + kind, **of)
            if failed is not None:
                self.commands.clear()
                raise ActivityError(failed.get("error") or kind)
        raise self._not_yet()

    def _not_yet(self):
        is_asked = self._find("WorkflowCancelRequested") is not None
        return Cancelled() if is_asked and not self._is_shielded else Waiting()

    def _find(self, kind, **of):
        for event_type, payload in self._events:
            if event_type == kind and of.items() <= payload.items():
                return payload
        return None

    def _next(self, kind):
        self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return self._numbers[kind]


def journey(replay, given):
    """Everything that a worker can ask for, in two runs; the second returns what was found."""
    token = replay.side_effect("token", lambda: Random().getrandbits(50))
    replay.find_by(stage="activities", round=given["round"])
    replay.show({"stage": "activities", "token": token})
    doubled = replay.activities("double", *given["numbers"])
    replay.find_by(stage="children")
    replay.show({"stage": "children", "token": token, "doubled": doubled})
    name = f"{given['name']}-{given['round']}"
    grown = replay.children("child", {f"{name}-{number}": number for number in doubled})
    failures = []
    try:
        replay.children("child", {f"{name}-bad": -1})
    except ActivityError as error:
        failures.append(str(error))
    replay.timer(0.2)
    if replay.side_effect("again", lambda: given["round"] == 1):
        replay.continue_as_new(given | {"round": 2, "numbers": grown, "token": token})
    replay.show({"stage": "done"})
    replay.find_by(stage="done")
    return {"grown": grown, "token": token, "first_token": given["token"], "failures": failures}


def child(replay, number):
    """Doubles a number, unless it is negative."""
    if number < 0:
        raise ActivityError(f"{number} is negative")
    (doubled,) = replay.activities("double", number)
    return doubled


def patient(replay, given):
    """Waits for a signal; when it is asked to end, it cleans up first."""
    replay.show({"waits": True})
    try:
        return replay.signal("go")
    except Cancelled:
        (cleaned,) = replay.shielded().activities("double", given)
        replay.show({"cleaned": cleaned})
        raise


def parent(replay, given):
    """Starts a child that waits, and asks it to end when it is told to; says how it ended."""
    try:
        return replay.children("patient", {given: 21}, meanwhile=lambda: cancel(replay, given))
    except ActivityError as error:
        return f"it ended: {error}"


def cancel(replay, workflow_id):
    replay.signal("enough")
    replay.cancel_child(workflow_id)


WORKFLOWS = {"journey": journey, "child": child, "patient": patient, "parent": parent}


class Worker:
    """Polls for one kind of task after the other, without waiting, until it is killed."""

    def __init__(self, address, queue):
        self._connection = HTTPConnection(address, timeout=TIMEOUT_S)
        self._queue = queue
        names = {"workflows": list(WORKFLOWS), "activities": ["double"]}
        self._worker_id = self._post("/workers/register", identity="rest", queue=queue, **names)[
            "worker_id"
        ]

    def serve(self):
        """Never returns."""
        while True:
            if not (self._serve_workflow() or self._serve_activity()):
                time.sleep(IDLE_S)

    def _serve_workflow(self):
        task = self._poll("/workflow-tasks/poll")
        if task is None:
            return False
        commands = decide(WORKFLOWS[task["workflow_type"]], task)
        path = f"/workflow-tasks/{quote(task['workflow_id'], safe='')}/commands"
        self._post(path, worker_id=self._worker_id, commands=commands)
        return True

    def _serve_activity(self):
        task = self._poll("/tasks/poll")
        if "id" not in task:
            return False
        # The input of an activity task is JSON text in a string.
        self._post(f"/tasks/{task['id']}/complete", result=2 * json.loads(task["input"]))
        return True

    def _poll(self, path):
        return self._post(path, queue=self._queue, worker_id=self._worker_id)

    def _post(self, path, **body):
        headers = {"content-type": "application/json"}
        self._connection.request("POST", f"/api/v1{path}", json.dumps(body), headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status == STALE:
            # Somebody else has the task by now.
            return None
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status} {text.decode()} for {body}")
        return json.loads(text)


def decide(code, task):
    """Runs workflow code against its history; returns the commands that follow."""
    replay = Replay(task["history"])
    try:
        replay.ask("CompleteWorkflow", result=code(replay, task["input"]))
    except ActivityError as error:
        replay.ask("FailWorkflow", error=str(error))
    except Cancelled:
        replay.ask("CancelWorkflow")
    except (Waiting, Ended):
        pass
    return replay.commands


if __name__ == "__main__":
    worker = Worker(*sys.argv[1:3])
    print("ready", flush=True)
    worker.serve()
