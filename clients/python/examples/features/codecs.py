"""Codecs: the server stores compressed and signed bytes, the code sees values.

python clients/python/examples/features/codecs.py
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import tempfile
from pathlib import Path

from perdure import (
    Client,
    Codec,
    Compression,
    SealedFailures,
    WorkerOptions,
    WorkflowFailedError,
    workflow,
)


class Signed(Codec):
    """Refuses what somebody has changed. One that encrypts has the same two methods."""

    encoding = "signed/hmac-sha256"

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encode(self, data: bytes) -> bytes:
        return self._sign(data) + data

    def decode(self, data: bytes) -> bytes:
        signature, data = data[:32], data[32:]
        if not hmac.compare_digest(signature, self._sign(data)):
            raise ValueError("the signature is wrong")
        return data

    def _sign(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, hashlib.sha256)


@workflow
async def shout(text: str) -> str:
    return text.upper()


@workflow
async def whisper(text: str) -> str:
    raise ValueError(f"too loud: {text}")


async def main() -> None:
    codecs = [SealedFailures(), Compression(), Signed(b"a key of yours")]
    workers = [WorkerOptions("default", [shout, whisper])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "app.db"
        async with Client.embedded(path, workers=workers, codecs=codecs) as client:
            handle = await client.start(shout, "hello " * 10_000)
            print(f"{len(await handle.result())} characters")
            try:
                await client.execute(whisper, "hello", id="w")
            except WorkflowFailedError as error:
                print(error)
        async with Client.embedded(path) as stranger:
            history = await stranger.get_handle(handle.workflow_id).history()
            payload = history.events[0].workflow_started.input
            print(f"{payload.encoding}, under 1000 bytes: {len(payload.data) < 1000}")
            try:
                await stranger.get_handle("w").result()
            except WorkflowFailedError as error:
                print(error)


if __name__ == "__main__":
    asyncio.run(main())
