#!/usr/bin/env bash
# pywa answers 200 to a status that has no contacts beside it, and calls no handler of statuses.
#
# Until 2026 Meta named the recipient of a sent, delivered, read or failed status in the status alone, as
# recipient_id; the list of contacts beside statuses is younger. pywa 4.5 takes the recipient from the first
# of the contacts and nowhere else. Without them it fails with a KeyError, writes that to its log, and
# drops the update. On FastAPI the answer is given before, so it is 200 either way, and on_message_status
# is not called. The same status with contacts reaches it; on_raw_update gets both. pywa_async does the same.
#
# Whoever forwards the raw callbacks of a notification service to a second receiver, replays stored ones
# after an outage, or compares two receivers takes 200 for "processed". Bodies that were stored before
# contacts existed, or that a tool still writes without them, are answered 200 and change nothing: messages
# keep the state they had, a failure starts no fallback, and the sender does not repeat the callback,
# because it was answered 200. Count what was applied, not what was answered.
#
# Needs python3 (3.10 or later) with venv and pip. Opens no port: the app is called in the same process.
# Exits with 1 if any of this behaves differently.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pywa==4.5.0 fastapi==0.165.0 \
    annotated-doc==0.0.7 annotated-types==0.8.0 anyio==4.16.0 certifi==2026.10.19.post1 h11==0.16.0 \
    httpcore==1.0.9 httpx==0.28.1 idna==3.20 opentelemetry-api==1.45.2 pydantic==2.14.4 \
    pydantic_core==2.50.5 starlette==1.10.0 typing-inspection==0.4.5 typing_extensions==4.16.0

cat >statuses.py <<'PY'
import asyncio
import hashlib
import hmac
import json
import logging
from importlib.metadata import version

import httpx
import pywa
import pywa_async
from fastapi import FastAPI

SECRET = b"secret-of-no-value"
WAMID = "wamid.HBgLMTIwMjU1NTAxMDEVAgARGBI1RjQyNUE3NEYxMzAzMzQ5MkEA"
UNDELIVERABLE = {
    "code": 131026,
    "title": "Message undeliverable",
    "message": "Message undeliverable",
    "error_data": {"details": "Message undeliverable."},
}

errors = []
log = logging.Handler(logging.ERROR)
log.emit = lambda record: errors.append(repr(record.exc_info[1]) if record.exc_info else record.getMessage())
logging.getLogger("pywa").addHandler(log)


def callback(name, contacts):
    status = {"id": WAMID, "status": name, "timestamp": "1749416383", "recipient_id": "12025550101"}
    if name == "failed":
        status["errors"] = [UNDELIVERABLE]
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": "106540352242922"},
        **({"contacts": [{"wa_id": "12025550101"}]} if contacts else {}),
        "statuses": [status],
    }
    change = {"field": "messages", "value": value}
    entry = {"id": "102290129340398", "changes": [change]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


async def measure(package):
    app = FastAPI()
    whatsapp = package.WhatsApp(
        phone_id="106540352242922",
        token="token-of-no-value",
        server=app,
        webhook_endpoint="/callbacks",
        verify_token="word-of-no-value",
        app_secret=SECRET.decode(),
    )
    handled, raw = [], []
    whatsapp.on_message_status(lambda _, status: handled.append((status.id, status.status.value)))
    whatsapp.on_raw_update(lambda _, update: raw.append(update))

    # The transport returns when the app has ended, with all that it does after its answer.
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:

        async def post(body, secret):
            for list_ in (handled, raw, errors):
                list_.clear()
            signature = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
            headers = {"X-Hub-Signature-256": signature}
            return (await client.post("/callbacks", content=body, headers=headers)).status_code

        answer = await post(callback("sent", True), b"another secret")
        print(f"{package.__name__}, signed with another secret: {answer}, handled {len(handled)}, raw {len(raw)}")
        for contacts in (True, False):
            for name in ("sent", "delivered", "read", "failed"):
                answer = await post(callback(name, contacts), SECRET)
                beside = "with contacts" if contacts else "without"
                print(f"{package.__name__}, {name} {beside}: {answer}, handled {handled.count((WAMID, name))},"
                      f" raw {len(raw)}, errors in the log {errors}")


print("pywa", version("pywa"), "on fastapi", version("fastapi"))
for package in (pywa, pywa_async):
    asyncio.run(measure(package))
PY
venv/bin/python statuses.py >seen.txt 2>log.txt || {
    cat seen.txt log.txt
    echo "pywa does not run as described"
    exit 1
}
cat seen.txt

{
    echo "pywa 4.5.0 on fastapi 0.165.0"
    for package in pywa pywa_async; do
        echo "$package, signed with another secret: 403, handled 0, raw 0"
        for name in sent delivered read failed; do
            echo "$package, $name with contacts: 200, handled 1, raw 1, errors in the log []"
        done
        for name in sent delivered read failed; do
            echo "$package, $name without: 200, handled 0, raw 1, errors in the log [\"KeyError('contacts')\"]"
        done
    done
} >expected.txt
diff expected.txt seen.txt >differences.txt || {
    echo "pywa has changed (< as described, > as seen):"
    cat differences.txt
    exit 1
}
echo "as described: without contacts, answered 200 and not handled"
