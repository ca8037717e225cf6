"""A seed is enough to repeat a world: alone, in another process, with other hashes of strings."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.simulation.world import World, simulate

SEEDS = range(4)
SHARED_SEEDS = range(10, 12)
WIDE_SEEDS = range(20, 22)
ROOT = Path(__file__).parents[2]


def digest(world: World) -> str:
    """Returns a hash of all that was committed, in order, with its instants."""
    found = hashlib.blake2b(digest_size=16)
    for event in world.contents.log:
        found.update(f"{event.position} {event.run_id}".encode())
        found.update(event.row.frame)
    return found.hexdigest()


def digests() -> list[str]:
    alone = [digest(simulate(seed)) for seed in SEEDS]
    several = [digest(simulate(seed, shared=True)) for seed in SHARED_SEEDS]
    wide = [digest(simulate(seed, shared=seed % 2 > 0, wide=True)) for seed in WIDE_SEEDS]
    return alone + several + wide


def test_the_same_seed_gives_the_same_world() -> None:
    here = digests()
    assert here == digests()
    assert len(set(here)) == len(here)


def test_another_process_gives_the_same_world() -> None:
    program = "from tests.simulation.test_determinism import digests; print(*digests())"
    environment = os.environ | {
        "PYTHONHASHSEED": "4711",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
    )
    assert done.stdout.split() == digests()
