"""Search attributes: workflows say what they are to be found by, lists and counts find them.

python clients/python/examples/features/found.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from perdure import Client, SearchAttributeKey, Start, WorkerOptions, workflow
from perdure.errors import InvalidFilterError

CUSTOMER = SearchAttributeKey.keyword("customer")
STAGE = SearchAttributeKey.keyword("stage")
CENTS = SearchAttributeKey.int("cents")


@workflow(task_queue="shop")
async def checkout(cents: int) -> None:
    workflow.upsert_search_attributes({STAGE: "charging", CENTS: cents})
    await workflow.sleep(0.01)
    workflow.upsert_search_attributes({STAGE: "shipped" if cents < 3000 else "under review"})


async def look(client: Client) -> None:
    orders = {"ada": 4200, "bob": 99, "cyd": 1250}
    starts = [
        Start(checkout, cents, id=f"order-{name}", search_attributes={CUSTOMER: name})
        for name, cents in orders.items()
    ]
    for handle in await client.start_batch(starts):
        assert not isinstance(handle, Exception)
        await handle.result()

    cheap = "cents < 2000 AND NOT customer = 'cyd'"
    async for run in client.list(filter=cheap):
        print(run.workflow_id, run.search_attributes)
    newest_first = client.list(filter="created_at > now() - 1h", order_by="cents DESC")
    print([run.workflow_id async for run in newest_first])
    print(await client.count(filter="customer IN ('ada', 'bob')"))
    print(await client.count_by("stage"))
    try:
        await client.count(filter="cents >")
    except InvalidFilterError as error:
        print(f"column {error.metadata['column']}")


async def main() -> None:
    workers = [WorkerOptions("shop", [checkout])]
    with tempfile.TemporaryDirectory() as folder:
        async with Client.embedded(Path(folder) / "app.db", workers=workers) as client:
            await look(client)


if __name__ == "__main__":
    asyncio.run(main())
