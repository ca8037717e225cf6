"""What waits for one stream leaves in few messages, and is bounded."""

from __future__ import annotations

import asyncio

from perdure_server.core.limits import OUTBOX_BYTES_MAX, OUTGOING_BATCH_BYTES_MAX
from perdure_server.engine.outbox import Outbox
from tests.engine.rig import settle


async def test_parts_are_joined_and_cut_at_the_bound():
    outbox = Outbox()
    outbox.put(b"a")
    outbox.put(b"b")
    assert await outbox.next() == (b"ab", 0)
    large = b"x" * (OUTGOING_BATCH_BYTES_MAX - 1)
    for part in (large, b"yy"):
        outbox.put(part)
    assert await outbox.next() == (large, 0)
    assert await outbox.next() == (b"yy", 0)


async def test_tasks_are_numbered_by_batch():
    outbox, sent = Outbox(), []
    outbox.put(b"t", sent.append)
    outbox.put(b"u", sent.append)
    assert await outbox.next() == (b"tu", 1)
    assert sent == [1, 1]


async def test_a_side_that_does_not_read_is_not_read_from():
    outbox = Outbox()
    outbox.put(b"x" * (OUTBOX_BYTES_MAX + 1))
    waiting = asyncio.create_task(outbox.room())
    await settle()
    assert not waiting.done()
    await outbox.next()
    await waiting


async def test_an_ended_outbox_gives_what_waits_first():
    outbox = Outbox()
    outbox.put(b"last")
    outbox.end()
    assert await outbox.next() == (b"last", 0)
    assert await outbox.next() is None
