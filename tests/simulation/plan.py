"""What a simulated world is made of, and which faults it has: all of it chance."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from perdure_server.core.limits import MILLISECOND_US
from tests.support.faulty_store import Faults
from tests.support.sim_network import NetworkFaults

_LOW_LIMITS = {
    "COMMIT_GROUP_MAX": 1,
    "HOT_RUNS_MAX": 2,
    "TASK_HISTORY_BYTES_MAX": 200,
    "TIMER_WINDOW": 2,
    "WATCH_BACKLOG_MAX": 2,
}


@dataclass(slots=True)
class Plan:
    """Which faults a world has, and how many: not every world has every kind."""

    faulty_s: float
    workers: int
    clients: int
    workflows: int
    network: NetworkFaults = field(default_factory=NetworkFaults)
    disk: Faults = field(default_factory=Faults)
    every_s: dict[str, float] = field(default_factory=dict)
    """The mean time between two faults of a kind, for the kinds that this world has."""
    limits: dict[str, int] = field(default_factory=dict)
    """Bounds of the engine that are reached in this world."""
    skews_us: list[int] = field(default_factory=list)
    """By how much the clocks of servers with one database differ from the database's."""

    @classmethod
    def draw(cls, random: Random) -> Plan:
        """Returns a plan made of chance."""
        plan = cls(
            faulty_s=random.uniform(5, 25),
            workers=random.randint(1, 3),
            clients=random.randint(1, 3),
            workflows=random.randint(3, 9),
        )

        def some(value: float) -> float:
            return value if random.random() < 0.5 else 0.0

        plan.network = NetworkFaults(
            latency_s=random.choice([0.001, 0.01, 0.3]),
            lose_request=some(0.1),
            lose_reply=some(0.1),
            repeat_report=some(0.1),
        )
        plan.disk = Faults(
            refuse=some(0.05),
            delay=some(0.3),
            delay_us_max=random.choice([5, 50, 2000]) * MILLISECOND_US,
            die_before=some(0.01),
            die_after=some(0.01),
        )
        kinds = ["cut", "half", "freeze", "crash", "drain", "kill", "stop", "jump", "outage"]
        plan.every_s = {kind: random.uniform(2, 12) for kind in kinds if random.random() < 0.5}
        plan.limits = {name: low for name, low in _LOW_LIMITS.items() if random.random() < 0.3}
        return plan

    def share(self, random: Random) -> int:
        """Plans what only servers on one database meet; returns how many they are."""
        for kind in ("sleep", "sever"):
            if random.random() < 0.5:
                self.every_s[kind] = random.uniform(2, 12)
        self.skews_us = [
            random.choice([0, 0, 300, -300, 30_000, -30_000]) * MILLISECOND_US
            for _ in range(random.randint(1, 3))
        ]
        self.disk.lose = random.choice([0.0, 0.05])
        return len(self.skews_us)
