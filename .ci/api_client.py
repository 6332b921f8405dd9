"""The API as a generated client meets it: the description is validated, a client is made of it, and reads one notification.

Usage: api_client.py HERALD SCRATCH (the program, and an empty folder with a virtual environment in SCRATCH/venv)
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.request

HERALD, SCRATCH = sys.argv[1], pathlib.Path(sys.argv[2])
PORT = 18080
BASE = f"http://127.0.0.1:{PORT}"


def request(path, key=None, body=None):
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(BASE + path, data, headers)) as response:
        return json.load(response)


def serve():
    environment = dict(os.environ, HERALD_DATA_DIR=str(SCRATCH / "data"), HERALD_LISTEN=f"127.0.0.1:{PORT}")
    output = open(SCRATCH / "dev.txt", "w+")
    server = subprocess.Popen(
        [HERALD, "dev", "--sandbox-listen", "127.0.0.1:18090"], env=environment, stdout=output, stderr=subprocess.DEVNULL
    )
    for _ in range(120):
        time.sleep(0.5)
        if server.poll() is not None:
            sys.exit("herald dev has ended")
        # The quote ends the key: what is written so far may stop in the middle of it.
        key = re.search(r"Bearer (herald_[0-9A-Za-z_-]+)'", (SCRATCH / "dev.txt").read_text())
        if key and is_ready():
            return server, key.group(1)
    server.kill()
    sys.exit("herald dev printed no API key, or does not answer")


def is_ready():
    try:
        with urllib.request.urlopen(BASE + "/readyz") as response:
            return response.status == 200
    except OSError:
        return False


def check(key):
    description = SCRATCH / "openapi.json"
    description.write_text(json.dumps(request("/api/v1/openapi.json")))
    tools = SCRATCH / "venv" / "bin"
    subprocess.run([tools / "openapi-spec-validator", description], check=True)
    client = SCRATCH / "herald_client"
    made = subprocess.run(
        [tools / "openapi-python-client", "generate", "--path", description, "--output-path", client, "--meta", "none"],
        capture_output=True, text=True,
    )
    left_out = re.findall(r"^(?:WARNING|ERROR)[^\n]*", made.stdout + made.stderr, re.M)
    if made.returncode or left_out:
        sys.exit(f"the client is not complete:\n{made.stdout}{made.stderr}")
    event = {
        "id": "client-1", "source": "shop", "type": "demo.order.created",
        "data": {"phone": "+12025550101", "customer": "Asha", "order_number": "A-17"},
    }
    request("/api/v1/events", key, event)
    reader = SCRATCH / "read.py"
    reader.write_text(READER)
    subprocess.run([tools / "python", reader, BASE, key], check=True, cwd=SCRATCH)


READER = '''
import sys
from herald_client.client import AuthenticatedClient
from herald_client.api.notifications import get_notification, list_notifications

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
page = list_notifications.sync(client=client)
first = page.notifications[0]
one = get_notification.sync(client=client, id=first.id)
assert one.id == first.id, (one, first)
missing = get_notification.sync(client=client, id="00000000-0000-0000-0000-000000000000")
assert missing.status == 404 and missing.title == "Resource not found", missing
print(f"a generated client has read notification {one.id}: {one.status}")
'''

server, key = serve()
try:
    check(key)
finally:
    server.terminate()
    server.wait(30)
