"""FastAPI and asyncpg: every callback is stored and applied in one transaction, and then answered."""

import hashlib
import hmac
import json

from fastapi import FastAPI, Request, Response

from notifications import APP_SECRET, PATH, apply, pool_of

app = FastAPI(lifespan=pool_of)

STORE = "INSERT INTO callback (digest, body) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true"


@app.post(PATH)
async def receive(request: Request) -> Response:
    body = await request.body()
    expected = "sha256=" + hmac.digest(APP_SECRET.encode(), body, "sha256").hex()
    signature = request.headers.get("X-Hub-Signature-256", "")
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        return Response(status_code=401)
    async with app.state.pool.acquire() as connection, connection.transaction():
        # What comes again is there already, and was applied with it.
        if await connection.fetchval(STORE, hashlib.sha256(body).digest(), body):
            for status in statuses(json.loads(body)):
                await apply(connection, status["id"], status["status"])
    return Response(status_code=200)


def statuses(callback: dict) -> list[dict]:
    return [
        status
        for entry in callback["entry"]
        for change in entry["changes"]
        for status in change["value"].get("statuses", ())
    ]
