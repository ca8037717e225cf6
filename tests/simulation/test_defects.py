"""Worlds that found a defect: they live now, and the frequent ones are shown to be found again."""

from __future__ import annotations

import gc
from unittest.mock import patch

import pytest

from perdure.errors import HistoryError
from tests.simulation.defects import DEFECTS
from tests.simulation.mistakes import MISTAKES
from tests.simulation.world import simulate

SEEDS = {
    "a task that cannot be sent stays leased": 19,
    "a cache miss reported twice takes two slots": 685,
    "tasks counted before the clock was set back are lost": 77,
    "of tasks in back-off before a restart only the first is claimed": 57,
    "a request repeated after the end is refused": 0,
    "a run is evicted while its history is fetched": 791,
    "an end is not told whose commit had no answer": 538,
}
SHARED = {"an end is not told whose commit had no answer"}
"""Defects of several servers."""
FREQUENT = [
    "a task that cannot be sent stays leased",
    "of tasks in back-off before a restart only the first is claimed",
    "a request repeated after the end is refused",
]
SEARCHED = 300
"""Another engine lives other worlds: from the seed on, so many are searched for the defect."""


@pytest.mark.parametrize("name", SEEDS)
def test_a_world_lives_that_had_a_defect(name: str) -> None:
    simulate(SEEDS[name], shared=name in SHARED)


@pytest.mark.parametrize("name", FREQUENT)
def test_the_defect_would_be_found_again(name: str) -> None:
    owner, attribute, defect = DEFECTS[name]
    with patch.object(owner, attribute, defect):
        assert any(fails(SEEDS[name] + step) for step in range(SEARCHED))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_would_be_found(name: str) -> None:
    mistake = MISTAKES[name]
    with patch.object(mistake.owner, mistake.attribute, mistake.patch):
        seeds = range(mistake.seed, mistake.seed + SEARCHED)
        assert any(fails(seed, shared=mistake.shared, wide=mistake.wide) for seed in seeds)


def test_every_defect_has_its_seed() -> None:
    assert set(SEEDS) == set(DEFECTS)


def fails(seed: int, *, shared: bool = False, wide: bool = False) -> bool:
    failed = _fails(seed, shared=shared, wide=wide)
    # A world that failed leaves coroutines, which run when they are collected: now, not while the
    # interpreter is in the middle of something else.
    gc.collect()
    return failed


def _fails(seed: int, *, shared: bool, wide: bool) -> bool:
    try:
        simulate(seed, shared=shared, wide=wide)
    except (AssertionError, ExceptionGroup, HistoryError):
        return True
    return False
