"""Generated requests meet no failure, no hang and no answer that is not described."""

from __future__ import annotations

import pytest

from tests.rest.fuzz import fuzz
from tests.rest.process import rest_server

EXAMPLES = 5
CASES_MIN = 3_000


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("default")
def test_generated_requests(tmp_path, capsys) -> None:
    with rest_server(tmp_path, "--auth", "keys") as address:
        report = fuzz(address, examples=EXAMPLES)
    with capsys.disabled():
        print(f"\n{report}")
    assert report.failures == {}
    assert report.cases.total() >= CASES_MIN
