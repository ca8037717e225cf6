"""A script that can be stopped and begun again: finished steps are not repeated.

python clients/python/examples/features/script.py import.db

Without a file it keeps nothing, and each time does everything.
"""

from __future__ import annotations

import sys

import perdure
from perdure import activity, workflow


@activity
def load(page: int) -> int:
    print(f"loading page {page}")
    return page * 10


@workflow
async def load_all(pages: int) -> int:
    return sum([await load(page) for page in range(1, pages + 1)])


if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else None
    print(perdure.run(load_all, 3, activities=[load], path=path, id="import"))
