"""What code makes by itself and replay must not make again; and code that changes under open runs.

python clients/python/examples/features/effects.py
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from perdure import Client, WorkerOptions, workflow

CALLS: list[str] = []


def secret() -> str:
    CALLS.append("secret")
    return os.urandom(4).hex()


@workflow
async def invite(guest: str) -> bool:
    # Recorded once: a replay takes it from the history.
    token = workflow.side_effect(secret, name="token")
    # The same in every replay, and recorded nowhere.
    before = (workflow.now(), workflow.uuid4(), workflow.random().random(), token)
    await workflow.sleep(0.01)
    if workflow.patched("greet-politely"):
        guest = f"dear {guest}"
    CALLS.append(guest)
    return before[3] == token


async def ask(client: Client) -> None:
    # Nothing is kept in memory, so the code runs from its beginning for each of its tasks.
    handle = await client.start(invite, "ada", id="invite-ada", task_queue="letters")
    print("the same token:", await handle.result())
    print(f"{CALLS.count('secret')} token was made for {CALLS[-1]}")
    kinds = [event.WhichOneof("event") for event in (await handle.history()).events]
    print("recorded:", kinds.count("side_effect_recorded"))


async def main() -> None:
    workers = [WorkerOptions("letters", [invite], max_cached_runs=0)]
    with tempfile.TemporaryDirectory() as folder:
        async with Client.embedded(Path(folder) / "app.db", workers=workers) as client:
            await ask(client)


if __name__ == "__main__":
    asyncio.run(main())
