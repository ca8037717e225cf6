"""Owns the replay of exported histories in files: the gate before new code is deployed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from perdure._replay.machine import WorkflowDefinition
from perdure._replay.replayer import replay
from perdure.converter import Converter
from perdure.errors import DeterminismError, PerdureError
from perdure.interceptors import Interceptor


@dataclass(frozen=True, slots=True)
class ReplayFailure:
    """A file whose history does not replay."""

    path: Path
    error: Exception

    @property
    def event_seq(self) -> int | None:
        """The event at which code and history part; None when the failure is another."""
        return self.error.event_seq if isinstance(self.error, DeterminismError) else None

    @property
    def source(self) -> str:
        """Where the code asked for something else, as `file:line`; empty when not known."""
        return self.error.source if isinstance(self.error, DeterminismError) else ""

    def __str__(self) -> str:
        kind = "" if isinstance(self.error, PerdureError) else f"{type(self.error).__name__}: "
        return f"{self.path}: {kind}{self.error}"


class ReplayFailedError(PerdureError):
    """Some histories no longer replay; the text has a line for each.

    Attributes:
        failures: What failed, by path.
        replayed: How many histories there were.
    """

    def __init__(self, failures: Sequence[ReplayFailure], *, replayed: int) -> None:
        head = f"{len(failures)} of {replayed} histories do not replay:"
        super().__init__("\n".join([head, *map(str, failures)]))
        self.failures = tuple(failures)
        self.replayed = replayed


def replay_all(
    path: str | PathLike[str],
    workflows: Iterable[WorkflowDefinition | type[Any]],
    *,
    converter: Converter | None = None,
    interceptors: Sequence[Interceptor] = (),
) -> int:
    """Replays an exported history, or every `*.json` in a folder and below, and returns how many.

    Raises ReplayFailedError, which names every one that fails, after all were tried, and
    FileNotFoundError when there is none: a gate over nothing would let everything pass.
    """
    known = list(workflows)
    paths = _histories(Path(path))
    failures = []
    for each in paths:
        try:
            text = each.read_text(encoding="utf-8")
            replay(text, known, converter=converter, interceptors=interceptors)
        except Exception as error:  # noqa: BLE001  # of damaged files and of the author's code
            failures.append(ReplayFailure(each, error))
    if failures:
        raise ReplayFailedError(failures, replayed=len(paths))
    return len(paths)


def _histories(path: Path) -> list[Path]:
    paths = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not all(each.is_file() for each in paths) or not paths:
        raise FileNotFoundError(f"there is no exported history at {path}")
    return paths
