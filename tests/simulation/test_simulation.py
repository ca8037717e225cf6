"""No work is lost or doubled, whatever breaks: one world per seed, of each kind."""

from __future__ import annotations

import pytest

from tests.simulation.world import simulate

_PER_TEST = 10
_OF_SEEDS = {"a_wide_world": 8, "a_world_of_several": 10, "a_wide_world_of_several": 20}
"""Of so many seeds one is tried in worlds of other kinds as well."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seeds" not in metafunc.fixturenames:
        return
    one = metafunc.config.getoption("--seed")
    if one is not None:
        metafunc.parametrize("seeds", [[one]], ids=[f"seed-{one}"])
        return
    kind = metafunc.function.__name__.removeprefix("test_").partition("_keeps")[0]
    count = -(-metafunc.config.getoption("--seeds") // _OF_SEEDS.get(kind, 1))
    groups = [range(first, min(first + _PER_TEST, count)) for first in range(0, count, _PER_TEST)]
    metafunc.parametrize("seeds", groups, ids=[f"seeds-{g.start}-{g.stop - 1}" for g in groups])


def test_a_world_keeps_its_promises(seeds: range) -> None:
    live(seeds, "a_world_keeps")


def test_a_world_of_several_keeps_its_promises(seeds: range) -> None:
    live(seeds, "a_world_of_several_keeps", shared=True)


def test_a_wide_world_keeps_its_promises(seeds: range) -> None:
    live(seeds, "a_wide_world_keeps", wide=True)


def test_a_wide_world_of_several_keeps_its_promises(seeds: range) -> None:
    live(seeds, "a_wide_world_of_several", shared=True, wide=True)


def live(seeds: range, name: str, *, shared: bool = False, wide: bool = False) -> None:
    for seed in seeds:
        try:
            simulate(seed, shared=shared, wide=wide)
        except BaseException as error:
            again = f"pytest tests/simulation/test_simulation.py --seed {seed} -k {name}"
            error.add_note(f"this seed alone: .venv/bin/{again}")
            raise
