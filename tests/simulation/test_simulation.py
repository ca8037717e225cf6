"""No work is lost or doubled, whatever breaks: one world per seed, with one server or several."""

from __future__ import annotations

import pytest

from tests.simulation.world import simulate

_PER_TEST = 10
_SHARED = 10
"""Of so many seeds one is tried with several servers on one database as well."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seeds" not in metafunc.fixturenames:
        return
    one = metafunc.config.getoption("--seed")
    if one is not None:
        metafunc.parametrize("seeds", [[one]], ids=[f"seed-{one}"])
        return
    count = metafunc.config.getoption("--seeds")
    if "several" in metafunc.function.__name__:
        count = -(-count // _SHARED)
    groups = [range(first, min(first + _PER_TEST, count)) for first in range(0, count, _PER_TEST)]
    metafunc.parametrize("seeds", groups, ids=[f"seeds-{g.start}-{g.stop - 1}" for g in groups])


def test_a_world_keeps_its_promises(seeds: range) -> None:
    live(seeds, shared=False)


def test_a_world_of_several_servers_keeps_its_promises(seeds: range) -> None:
    live(seeds, shared=True)


def live(seeds: range, *, shared: bool) -> None:
    for seed in seeds:
        try:
            simulate(seed, shared=shared)
        except BaseException as error:
            kind = "several" if shared else "a_world_keeps"
            again = f"pytest tests/simulation/test_simulation.py --seed {seed} -k {kind}"
            error.add_note(f"this seed alone: .venv/bin/{again}")
            raise
