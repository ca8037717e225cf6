"""Commands that code might ask for next, made of numbers; some of them are wrong."""

from __future__ import annotations

from perdure.v1.search_attributes_pb2 import SearchAttribute, SearchAttributes
from tests.core import life


def commands_of(stored, numbers):
    """Returns a batch for a run as it is stored: one command of each kind, those that end last."""
    made = {}
    for number in numbers:
        kind = number % len(_KINDS)
        made[kind] = _KINDS[kind](stored, number)
    kinds = sorted(made)
    if _MESSAGES & set(kinds):
        # Which of two others answers first is not promised.
        kinds = [kind for kind in kinds if kind not in _MESSAGES - {min(_MESSAGES & set(kinds))}]
    batch = [made[kind] for kind in kinds if made[kind] is not None]
    return batch if len(batch) < 2 or numbers[0] % 3 else [*batch[:-1]]


def _activity(stored, number):
    retry = life.attempts(number % 4) if number % 4 else None
    seconds = {"start_to_close": 3} if number % 2 else {"heartbeat": 2, "schedule_to_start": 8}
    fields = {"options": life.options(retry=retry, **seconds), "priority": number % 3}
    return life.schedule(stored.run.activity_seq_max + 1, **fields)


def _wait(stored, number):
    timer_seq = stored.run.timer_seq_max if number % 2 else 0
    return life.await_signal(stored.run.wait_seq_max + 1, timer_seq=timer_seq)


def _upsert(stored, number):
    values = {"size": SearchAttribute(int=number % 6)}
    if number % 3 == 0:
        values["team"] = SearchAttribute(keyword="ab"[number % 2])
    return life.upsert(stored.run.attribute_seq_max + 1, SearchAttributes(values=values))


def _child(stored, number):
    policy, workflow_id = number % 4, ["", "w-0", "w-1"][number % 3]
    seq = stored.run.child_seq_max + 1
    options = {"workflow_type": "checkout", "parent_close_policy": policy}
    return life.start_child(seq, workflow_id, **options)


def _answer(stored, number):
    asked = sorted(seq for seq, update in stored.updates.items() if not update.outcome)
    answer = life.complete_update if number % 2 else life.reject_update
    return answer(asked[0]) if asked else _wrong(stored, number)


def _cancel_timer(stored, number):
    seq = stored.run.timer_seq_max - number % 2
    return life.cancel_timer(seq) if seq > 0 else None


def _cancel_activity(stored, number):
    seq = stored.run.activity_seq_max - number % 2
    return life.cancel_activity(seq) if seq > 0 else None


def _wrong(stored, number):
    """Now and then a command that leaves out a number."""
    return life.timer(stored.run.timer_seq_max + 2, 5) if number > 80 else None


_MESSAGES = {6, 7, 8}
"""The kinds that begin something with another run."""
_KINDS = [
    _activity,
    _activity,
    lambda stored, number: life.timer(stored.run.timer_seq_max + 1, number % 9),
    _wait,
    _upsert,
    lambda _stored, number: life.record_snapshot(b"%d" % number if number % 4 else None),
    _child,
    lambda stored, _number: life.send_signal(stored.run.signal_seq_max + 1, "w-1"),
    lambda stored, _number: life.send_cancel(stored.run.cancel_seq_max + 1, "w-0"),
    lambda stored, _number: life.side_effect(stored.run.side_effect_seq_max + 1),
    _answer,
    _answer,
    _cancel_timer,
    _cancel_activity,
    _wrong,
    lambda _stored, _number: life.complete(),
    lambda _stored, _number: life.fail(),
    lambda _stored, _number: life.cancelled(),
    lambda _stored, _number: life.go_on(),
]
