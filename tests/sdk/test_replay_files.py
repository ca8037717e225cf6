"""The gate before a deployment: every recorded history replays."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from perdure import workflow
from perdure.testing import ReplayFailedError, replay_all
from tests.replay import workflows

HISTORIES = Path(__file__).parents[1] / "replay" / "histories"


@pytest.fixture
def folder(tmp_path):
    """Two histories, one of them in a folder below."""
    (tmp_path / "below").mkdir()
    shutil.copy(HISTORIES / "fan_out.json", tmp_path)
    shutil.copy(HISTORIES / "timer_fired.json", tmp_path / "below")
    return tmp_path


def test_a_folder_is_replayed_with_all_below(folder):
    assert replay_all(folder, workflows.ALL) == 2


def test_a_file_is_replayed(folder):
    assert replay_all(str(folder / "fan_out.json"), workflows.ALL) == 1


def test_every_failure_is_told_with_file_event_and_line(folder):
    (folder / "damaged.json").write_text("{")
    (folder / "other.json").write_text('{"no": "events"}')
    changed = [_nothing(each.name) for each in workflows.ALL]
    with pytest.raises(ReplayFailedError) as told:
        replay_all(folder, changed)
    failures = {failure.path.name: failure for failure in told.value.failures}
    assert sorted(failures) == ["damaged.json", "fan_out.json", "other.json", "timer_fired.json"]
    assert told.value.replayed == 4
    parted = failures["fan_out.json"]
    assert parted.event_seq == 2
    assert f"{folder / 'fan_out.json'}: the workflow code no longer fits" in str(told.value)
    assert failures["damaged.json"].event_seq is None
    assert failures["damaged.json"].source == ""
    assert str(failures["damaged.json"]).startswith(f"{folder / 'damaged.json'}: JSONDecodeError: ")


def test_the_line_of_the_code_is_told(folder):
    with pytest.raises(ReplayFailedError) as told:
        replay_all(folder / "below", [_sleeps_longer(each.name) for each in workflows.ALL])
    (failure,) = told.value.failures
    assert Path(failure.source.rsplit(":", 1)[0]).name == Path(__file__).name


def test_a_type_that_is_gone_is_a_failure(folder):
    with pytest.raises(ReplayFailedError, match=r"2 of 2 histories.*\n.*LookupError"):
        replay_all(folder, [])


@pytest.mark.parametrize("name", ["empty", "missing.json"])
def test_a_gate_over_nothing_is_an_error(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=name):
        replay_all(tmp_path / name, workflows.ALL)


def _nothing(name):
    @workflow(name=name)
    async def nothing(value: object = None) -> None:
        pass

    return nothing


def _sleeps_longer(name):
    @workflow(name=name)
    async def waits(value: object = None) -> None:
        await workflow.wait_condition(lambda: False)

    return waits
