"""Measures one peer once, on a fresh database, and prints one JSON object. `run` starts this in its environment."""

import argparse
import asyncio
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import uuid

import asyncpg
import uvloop

import load

HERE = pathlib.Path(__file__).parent
APP_SECRET = "peers-app-secret-of-no-value"
PATH = "/webhooks/meta"

# More than a peer takes in a second.
MOST_PER_SECOND = 20_000
READY_WITHIN = 60
APPLIED_WITHIN = 600

APPLIED = "SELECT count(sent_at) + count(delivered_at) + count(read_at) FROM notification"
LAST_APPLIED = "SELECT max(greatest(sent_at, delivered_at, read_at)) FROM notification"


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def durability(database: asyncpg.Connection) -> dict[str, str]:
    """Refuses to measure what is not durable."""
    names = ("fsync", "synchronous_commit", "full_page_writes")
    settings = {name: await database.fetchval(f"SHOW {name}") for name in names}
    if set(settings.values()) != {"on"}:
        sys.exit(f"the database is not fully durable: {settings}")
    return settings


async def seed(database: asyncpg.Connection) -> None:
    await database.execute((HERE / "schema.sql").read_text())
    await database.execute(
        "INSERT INTO notification (wamid) SELECT 'wamid.BENCH' || lpad(i::text, 12, '0') "
        f"FROM generate_series(0, {load.NOTIFICATIONS - 1}) AS s(i)"
    )
    await database.execute("VACUUM ANALYZE")
    await database.execute("CHECKPOINT")


def start(peer: str, url: str, port: int, workers: int, pool: int) -> subprocess.Popen:
    environment = dict(os.environ, PEER_DATABASE_URL=url, PEER_APP_SECRET=APP_SECRET, PEER_POOL=str(pool))
    words = [sys.executable, "-m", "uvicorn", f"with_{peer}:app", "--app-dir", HERE, "--host", "127.0.0.1"]
    words += ["--port", port, "--workers", workers, "--loop", "uvloop", "--http", "httptools"]
    words += ["--no-access-log", "--log-level", "warning"]
    return subprocess.Popen(
        [str(word) for word in words], env=environment, stdout=sys.stderr, stdin=subprocess.DEVNULL, start_new_session=True
    )


async def wait_ready(database: asyncpg.Connection, server: subprocess.Popen, connections: int) -> None:
    """Every worker has opened its pool."""
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    for _ in range(READY_WITHIN * 20):
        if server.poll() is not None:
            sys.exit(f"uvicorn ended at its start: {server.returncode}")
        if await database.fetchval(count) >= connections:
            # The pools are open; the last worker has yet to listen.
            await asyncio.sleep(0.5)
            return
        await asyncio.sleep(0.05)
    sys.exit(f"uvicorn is not ready after {READY_WITHIN} s")


def stop(server: subprocess.Popen) -> None:
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


async def wait_applied(database: asyncpg.Connection, acknowledged: int) -> int:
    """Waits until what was acknowledged is applied, or for three seconds nothing more is."""
    applied, since = await database.fetchval(APPLIED), time.monotonic()
    limit = since + APPLIED_WITHIN
    while applied < acknowledged and time.monotonic() < min(limit, since + 3):
        await asyncio.sleep(0.5)
        now = await database.fetchval(APPLIED)
        if now > applied:
            applied, since = now, time.monotonic()
    return applied


async def measure(wanted: argparse.Namespace) -> dict:
    # pywa reads whom a status is about, as Meta has written it since 2026; without it pywa applies nothing.
    requests = load.shots(int(wanted.seconds * MOST_PER_SECOND), PATH, APP_SECRET, contacts=wanted.peer == "pywa")
    name = f"herald_peers_{uuid.uuid4().hex}"
    url = urllib.parse.urlsplit(wanted.database)._replace(path=f"/{name}").geturl()
    try:
        admin = await asyncpg.connect(wanted.database)
    except (OSError, asyncpg.PostgresError) as error:
        sys.exit(f"the database cannot be reached: {error}")
    progress(f"{wanted.peer}: filling a fresh database …")
    await admin.execute(f"CREATE DATABASE {name}")
    server = None
    try:
        database = await asyncpg.connect(url)
        settings = await durability(database)
        await seed(database)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = start(wanted.peer, url, port, wanted.workers, wanted.pool)
        await wait_ready(database, server, wanted.workers * wanted.pool)
        progress(f"{wanted.peer}: {wanted.seconds} s of load …")
        began = await database.fetchval("SELECT clock_timestamp()")
        outcome = await load.fire(port, requests, wanted.connections, wanted.seconds)
        applied = await database.fetchval(APPLIED)
        stored = await database.fetchval("SELECT count(*) FROM callback")
        at_last = await wait_applied(database, outcome.acknowledged)
        last = await database.fetchval(LAST_APPLIED)
        await database.close()
    finally:
        if server:
            stop(server)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()
    if outcome.ran_out:
        sys.exit(f"{wanted.peer} took every callback that was signed: raise MOST_PER_SECOND")
    if wanted.peer == "fastapi" and min(stored, applied) < outcome.acknowledged:
        sys.exit(f"{outcome.acknowledged} were acknowledged, {stored} are stored and {applied} applied")
    if not last:
        sys.exit(f"{wanted.peer} applied none of {outcome.acknowledged} it acknowledged; it refused {outcome.refused}")
    return {
        "acknowledged_per_second": round(outcome.acknowledged / outcome.seconds),
        "applied_per_second": round(applied / outcome.seconds),
        "applied_per_second_to_the_last": round(at_last / max((last - began).total_seconds(), outcome.seconds)),
        "p50_ms": round(outcome.percentile_ms(50), 3),
        "p99_ms": round(outcome.percentile_ms(99), 3),
        "refused": outcome.refused,
        "unapplied_at_the_end": max(outcome.acknowledged - applied, 0),
        "never_applied": max(outcome.acknowledged - at_last, 0),
        "load_cores": round(outcome.load_cpu_seconds / outcome.seconds, 3),
        "durability": settings,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=("fastapi", "pywa"))
    parser.add_argument("--database", required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--pool", type=int, required=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(json.dumps(uvloop.run(measure(parser.parse_args()))))


main()
