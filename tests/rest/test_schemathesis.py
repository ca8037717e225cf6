"""Generated requests meet no failure, no hang and no answer that is not described."""

from __future__ import annotations

import faulthandler
import sys

import pytest

from tests.rest.fuzz import fuzz
from tests.rest.process import rest_server

EXAMPLES = 5
CASES_MIN = 3_000


@pytest.mark.timeout(1200)  # thousands of requests
@pytest.mark.filterwarnings("default")
def test_generated_requests(tmp_path, capsys) -> None:
    faulthandler.cancel_dump_traceback_later()  # It may take longer than other tests.
    with rest_server(tmp_path, "--auth", "keys") as address:
        report = fuzz(address, examples=EXAMPLES)
    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n")
    assert report.failures == {}
    assert report.cases.total() >= CASES_MIN
