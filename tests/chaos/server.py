"""The server of the chaos tests: one like any other, but for how often it looks for old runs.

`python -m tests.chaos.server`. Others look once a minute, and few live that long here.
"""

from __future__ import annotations

from perdure_server.__main__ import main
from perdure_server.core import limits
from tests.chaos.attic import SWEEP_S

if __name__ == "__main__":
    limits.RETENTION_INTERVAL_US = SWEEP_S * limits.SECOND_US  # type: ignore[misc]
    main()
