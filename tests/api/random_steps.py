"""What random calls are made of: how often each kind of step is tried, and with what."""

from __future__ import annotations

from random import Random

from perdure_server.core.model import TaskKind

NUMBERS = range(100)
SEQS = [-1, 0, 1, 1, 2]
REQUEST_IDS = ["", "", "", "r-1", "r-2", "r-3"]
FILTERS = [
    "",
    "status = 'RUNNING'",
    "status != 'COMPLETED' AND size > 1",
    "size BETWEEN 1 AND 3 OR workflow_id = 'w-1'",
    "NOT team = 'a'",
    "parent_id = 'w-0'",
    "completed_at > '2020-01-01T00:00:00Z'",
    "team IN ('a', 'b') AND type = 'checkout'",
    "size =",
]
ORDERS = ["", "created_at", "updated_at desc", "size", "team desc", "nonsense"]
ASKED = {"number": NUMBERS, "request_id": REQUEST_IDS}
MOSTLY_ANOTHER = {"conflict": [0, 1, 2, 2, 2, 3], "reuse": [2, 2, 2, 0, 1, 3]}
STEPS = [
    (8, "start", ASKED | MOSTLY_ANOTHER | {"options": NUMBERS}),
    (3, "start_with", ASKED | {"signal": [False, True], "options": NUMBERS}),
    (3, "signal", ASKED | {"name": ["go", "stop"]}),
    (3, "update", ASKED | {"name": ["add", "remove"]}),
    (1, "cancel", ASKED | {"deadline": [None, 3]}),
    (1, "operate", ASKED | {"what": ["Terminate"]}),
    (3, "operate", ASKED | {"what": ["Pause", "Unpause", "Unpause"]}),
    (1, "continue_as_new", ASKED),
    (2, "reset", ASKED | {"seq": range(12), "drop": [False, True]}),
    (2, "retry", ASKED),
    (2, "schedule_outside", ASKED | {"seq": [0, 1, 1, 2], "options": NUMBERS}),
    (4, "operate_activity", ASKED | {"seq": SEQS, "what": ["Pause", "Unpause", "Reset"]}),
    (2, "change_activity", ASKED | {"seq": SEQS, "options": NUMBERS}),
    (1, "take", {"kind": list(TaskKind), "number": NUMBERS}),
    (34, "work", {"number": NUMBERS, "numbers": None}),
    (12, "serve", {"number": NUMBERS}),
    (4, "report_late", {"number": NUMBERS, "numbers": None, "again": [False, True]}),
    (3, "report_again", {"number": NUMBERS}),
    (3, "heartbeat", {"number": NUMBERS, "details": [False, True]}),
    (8, "wait", {"seconds": [0.5, 1, 1, 2, 2, 5, 11, 31]}),
    (1, "restart", {}),
    (1, "keep", {"what": ["create", "update", "delete", "delete all"], "seconds": [0, 5, 100]}),
    (2, "list", {"text": FILTERS, "order": ORDERS, "size": [1, 2, 3], "side": [False, True]}),
    (2, "show", {"number": NUMBERS}),
]
"""How often beside the others, what, and with which of what."""


def random_steps(seed, length):
    """Returns steps, each a kind and its fields. A longer way with the same seed begins alike."""
    random = Random(seed)
    weights = [weight for weight, _, _ in STEPS]
    return [_filled(random, *random.choices(STEPS, weights)[0]) for _ in range(length)]


def _filled(random, _weight, kind, choices):
    commands = [random.choice(NUMBERS) for _ in range(random.randint(0, 5))]
    return kind, {
        name: commands if of is None else random.choice(of) for name, of in choices.items()
    }
