"""A script that can be stopped and begun again: finished steps are not repeated.

python clients/python/examples/features/script.py import.db
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
    print(perdure.run(load_all, 3, activities=[load], path=sys.argv[1], id="import"))
