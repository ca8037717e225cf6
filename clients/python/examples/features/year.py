"""Tests in virtual time: a year passes at once, and a fake stands in for the bank.

python clients/python/examples/features/year.py
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from perdure.testing import Environment, Mock

MONTH = timedelta(days=30)


@activity
async def charge(month: int) -> str:
    raise RuntimeError(f"no test pays for month {month}")


@workflow
async def subscribe(months: int) -> list[str]:
    receipts = []
    for month in range(1, months + 1):
        receipts.append(await charge(month))
        await workflow.sleep(MONTH)
    return receipts


async def main() -> None:
    bank = Mock(charge, lambda month: f"month {month} paid")
    async with Environment([subscribe], [bank]) as env:
        began = env.now()
        receipts = await env.client.execute(subscribe, 12)
        print(f"{len(receipts)} receipts, the last one: {receipts[-1]}")
        print((env.now() - began) // timedelta(days=1), "days")


if __name__ == "__main__":
    asyncio.run(main())
