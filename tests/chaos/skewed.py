"""A server whose machine has a wrong clock: `python -m tests.chaos.skewed server …`.

The environment says how many seconds it is ahead. Only the wall clock is wrong, as it would be:
steady time has no zero to be wrong about.
"""

from __future__ import annotations

import os
import time

SKEW = "CHAOS_TEST_SKEW"


def set_clock(ahead_s: int) -> None:
    """Makes this process believe another time from now on."""
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + ahead_s
    time.time_ns = lambda: right_ns() + ahead_s * 1_000_000_000


if __name__ == "__main__":
    set_clock(int(os.environ.get(SKEW, "0")))
    from perdure_server.__main__ import main

    main()
