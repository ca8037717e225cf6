"""The loader of named queries."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure_server.store.queries import load_queries


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "some_backend" / "queries"
    folder.mkdir(parents=True)
    return folder


def test_a_query_goes_from_its_name_to_the_next(package: Path) -> None:
    text = "-- For readers.\n\n-- name: one\nSELECT 1;\n\n-- name: two\n-- Why.\nSELECT\n    2;\n"
    package.joinpath("numbers.sql").write_text(text, encoding="utf-8")
    assert load_queries("some_backend") == {"one": "SELECT 1;", "two": "-- Why.\nSELECT\n    2;"}


def test_a_name_stands_once(package: Path) -> None:
    for file in ("a.sql", "b.sql"):
        package.joinpath(file).write_text("-- name: one\nSELECT 1;\n", encoding="utf-8")
    with pytest.raises(ValueError, match="the query one is defined twice"):
        load_queries("some_backend")


def test_a_part_stands_wherever_it_is_named(package: Path) -> None:
    package.joinpath("a.sql").write_text(
        "-- part: columns\na,\nb\n\n-- name: one\nSELECT {{columns}};\n", encoding="utf-8"
    )
    package.joinpath("b.sql").write_text("-- name: two\nSELECT c, {{columns}};\n", encoding="utf-8")
    assert load_queries("some_backend") == {"one": "SELECT a,\nb;", "two": "SELECT c, a,\nb;"}


def test_a_part_that_is_nowhere_is_an_error(package: Path) -> None:
    package.joinpath("a.sql").write_text("-- name: one\nSELECT {{columns}};\n", encoding="utf-8")
    with pytest.raises(KeyError, match="columns"):
        load_queries("some_backend")
