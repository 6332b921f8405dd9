"""What both peers do with one status: a pool of connections, and one update."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI

APP_SECRET = os.environ["PEER_APP_SECRET"]
PATH = "/webhooks/meta"

# The state only moves forward; a status that comes late still leaves its time.
UPDATES = {
    status: f"UPDATE notification SET state = greatest(state, {state}), {status}_at = coalesce({status}_at, now()) "
    "WHERE wamid = $1"
    for state, status in enumerate(("sent", "delivered", "read"), start=1)
}


@asynccontextmanager
async def pool_of(app: FastAPI) -> AsyncIterator[None]:
    """All connections are open before the first callback."""
    size = int(os.environ["PEER_POOL"])
    async with asyncpg.create_pool(os.environ["PEER_DATABASE_URL"], min_size=size, max_size=size) as pool:
        app.state.pool = pool
        yield


async def apply(connection: asyncpg.Connection | asyncpg.Pool, wamid: str, status: str) -> None:
    if update := UPDATES.get(status):
        await connection.execute(update, wamid)
