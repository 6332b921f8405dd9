"""E-mail against a real mail server: TLS from the start and after STARTTLS, a password, refusals, a server that stalls or
drops the connection after the mail, and kills of Herald (SIGKILL) in the middle of its mails.

Usage: mail_server.py HERALD SCRATCH (the program, and an empty folder)
Needs aiosmtpd; PostgreSQL's programs for the second half of the kills.
"""

import asyncio
import collections
import glob
import json
import logging
import os
import pathlib
import random
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
import warnings

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

# What the mail server says of connections that end as they are meant to.
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

HERALD, SCRATCH = str(pathlib.Path(sys.argv[1]).absolute()), pathlib.Path(sys.argv[2]).absolute()
USER, PASSWORD = "herald", "a-password-for-tests"
PENDING = {"queued", "held", "sending", "retrying", "unknown"}
KILLS, MAILS = 12, 400

CATALOGUE = """
name = "mails"

[[template]]
name = "order"
language = "en"
category = "utility"
subject = "Order {{ number }}"
body = "Hello, your order {{ number }} is on its way."
html = "<p>Hello, your order <b>{{ number }}</b> is on its way.</p>"
"""


class Mailboxes:
    """What the mail server does is decided by the first word of the mailbox."""

    def __init__(self):
        self.taken = collections.Counter()
        self.texts = {}
        self.protected = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        word = address.split("-")[0].split("@")[0]
        if word == "gone":
            return "550 5.1.1 There is no such mailbox"
        if word == "full":
            return "452 4.2.2 The mailbox is full"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        address = envelope.rcpt_tos[0]
        word = address.split("-")[0].split("@")[0]
        if word == "large":
            return "552 5.3.4 The mail is too large"
        if word == "kill":
            await asyncio.sleep(random.random() * 0.05)
        self.taken[address] += 1
        self.texts[address] = envelope.content.decode()
        self.protected.add(session.ssl is not None or isinstance(server.transport.get_extra_info("ssl_object"), ssl.SSLObject))
        if word == "cut":
            server.transport.abort()
        if word == "stall":
            await asyncio.sleep(45)
        return "250 OK"


def is_known(server, session, envelope, mechanism, login):
    known = login.login == USER.encode() and login.password == PASSWORD.encode()
    # Without `handled=False` a wrong password gets no reply at all.
    return AuthResult(success=known, handled=False)


class MailServer(Controller):
    def __init__(self, handler, context, implicit):
        self.context, self.implicit = context, implicit
        super().__init__(handler, hostname="127.0.0.1", port=free_port(), ssl_context=context if implicit else None)

    def factory(self):
        # After STARTTLS or inside TLS, and only with the password.
        return SMTP(
            self.handler, authenticator=is_known, auth_required=True, auth_require_tls=not self.implicit,
            tls_context=None if self.implicit else self.context, require_starttls=not self.implicit,
        )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*words, **more):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, **more)


def authority(name):
    """A certification authority, and a context for a server whose certificate it has signed."""
    folder = SCRATCH / name
    folder.mkdir()
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
        "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
        "-keyout", folder / "key.pem", "-out", folder / "request.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    run("openssl", "x509", "-req", "-in", folder / "request.pem", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key",
        "-CAcreateserial", "-days", "2", "-extfile", folder / "names", "-out", folder / "certificate.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return folder / "ca.pem", context


class Herald:
    """One installation: its folder, settings and API key."""

    def __init__(self, name, settings, database=None):
        self.folder = SCRATCH / name
        self.folder.mkdir()
        self.port = free_port()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HERALD_DATA_DIR": str(self.folder),
            "DATABASE_URL": database or f"sqlite:{self.folder / 'herald.sqlite'}",
            "HERALD_LISTEN": f"127.0.0.1:{self.port}",
            "HERALD_SECRET_KEY": "00112233445566778899aabbccddeeff" * 2,
            "HERALD_LOG": "warn",
            "SMTP_FROM": "shop@example.com",
            **settings,
        }
        self.command("migrate", "up")
        (self.folder / "mails.toml").write_text(CATALOGUE)
        self.command("apply", "mails.toml")
        self.key = re.search(r"herald_[0-9A-Za-z_-]+", self.command("keys", "create", "tests", "--all").stdout).group(0)
        self.server = None

    def command(self, *words, check=True):
        return subprocess.run(
            [HERALD, *words], check=check, capture_output=True, text=True, env=self.environment, cwd=self.folder
        )

    def start(self):
        log = open(self.folder / "log", "a")
        self.server = subprocess.Popen([HERALD, "serve"], env=self.environment, cwd=self.folder, stdout=log, stderr=log)
        for _ in range(600):
            if self.server.poll() is not None:
                sys.exit(f"herald serve has ended:\n{(self.folder / 'log').read_text()}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz").close()
                return
            except OSError:
                time.sleep(0.02)
        sys.exit("herald serve is not ready")

    def kill(self):
        self.server.kill()
        self.server.wait()

    def stop(self):
        self.server.terminate()
        self.server.wait(60)

    def request(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)) as answer:
            return json.load(answer)

    def order(self, to):
        body = {"to": to, "template": "order", "params": {"number": "A-17"}, "channels": ["email"]}
        return self.request("/api/v1/notifications", body)["notifications"][0]["id"]

    def states(self, ids, seconds):
        """What became of each, once nothing is pending, or after so many seconds."""
        until = time.time() + seconds
        while True:
            found = {id: self.request(f"/api/v1/notifications/{id}") for id in ids}
            if time.time() > until or not any(one["status"] in PENDING for one in found.values()):
                return found
            time.sleep(0.5)


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: {found!r}, not {wanted!r}")
    print(f"  {what}: {found}")


def mails_over(tls, boxes, server, ca):
    url = f"{'smtps' if tls == 'implicit' else 'smtp'}://{USER}:{PASSWORD}@localhost:{server.port}"
    herald = Herald(tls, {"SMTP_URL": url, "SMTP_CA_FILE": str(ca)})
    check = herald.command("check", check=False).stdout
    if "The mail server answers, over TLS." not in check:
        sys.exit(f"herald check does not see the mail server:\n{check}")
    herald.start()
    ids = {word: herald.order(f"{word}-{tls}@example.com") for word in ["ok", "gone", "full", "large", "cut", "stall"]}
    words = {id: word for word, id in ids.items()}
    full = ids["full"]
    found = herald.states([id for id in words if id != full], 60)
    states = {words[id]: one["status"] for id, one in found.items()}
    expect(f"{tls}: what became of them", states,
           {"ok": "accepted", "gone": "failed", "large": "failed", "cut": "gave_up", "stall": "gave_up"})
    expect(f"{tls}: a full mailbox is tried again", herald.states([full], 0)[full]["status"], "retrying")
    taken = {word: boxes.taken[f"{word}-{tls}@example.com"] for word in ids}
    expect(f"{tls}: mails taken", taken, {"ok": 1, "gone": 0, "full": 0, "large": 0, "cut": 1, "stall": 1})
    text = boxes.texts[f"ok-{tls}@example.com"]
    for part in ["Subject: Order A-17", "Message-ID: <", "multipart/alternative", "<b>A-17</b>"]:
        if part not in text:
            sys.exit(f"the mail does not have {part}:\n{text}")
    herald.stop()


def refused(name, url, ca, said):
    """A mail server that cannot be used: `check` says why, and nothing is lost."""
    herald = Herald(name, {"SMTP_URL": url} | ({"SMTP_CA_FILE": str(ca)} if ca else {}))
    check = herald.command("check", check=False).stdout
    if said not in check:
        sys.exit(f"{name}: herald check does not say {said!r}:\n{check}")
    herald.start()
    id = herald.order(f"ok-{name}@example.com")
    until = time.time() + 20
    while time.time() < until and not herald.request(f"/api/v1/notifications/{id}")["attempts"]:
        time.sleep(0.2)
    status = herald.request(f"/api/v1/notifications/{id}")["status"]
    if status not in PENDING:
        sys.exit(f"{name}: the message is {status}")
    print(f"  {name}: {status}, and check says “{said}”")
    herald.stop()


def kills(name, boxes, server, ca, database=None):
    """Kills in the middle of mails: none twice, and none lost without a word."""
    url = f"smtp://{USER}:{PASSWORD}@localhost:{server.port}"
    # A short lease, so that what a dead process held is soon taken over.
    settings = {"SMTP_URL": url, "SMTP_CA_FILE": str(ca), "HERALD_LEASE_SECONDS": "3",
                "HERALD_SEND_TIMEOUT_SECONDS": "2"}
    herald = Herald(f"kills-{name}", settings, database)
    herald.start()
    ids = {}
    for kill in range(KILLS):
        for number in range(MAILS // KILLS):
            mailbox = f"kill-{name}-{kill}-{number}@example.com"
            ids[herald.order(mailbox)] = mailbox
        time.sleep(0.05 + random.random() * 0.4)
        herald.kill()
        herald.start()
    found = herald.states(ids, 180)
    herald.stop()
    counted = collections.Counter()
    for id, mailbox in ids.items():
        status, mails = found[id]["status"], boxes.taken[mailbox]
        counted[status, mails] += 1
        if mails > 1 or (status == "accepted" and mails != 1) or status not in ("accepted", "gave_up"):
            sys.exit(f"{name}: {mailbox} is {status} and has {mails} mails: {json.dumps(found[id], indent=1)}")
    interrupted = sum(count for (status, _), count in counted.items() if status == "gave_up")
    if not interrupted:
        sys.exit(f"{name}: no kill met a mail: {counted}")
    print(f"  {name}: {KILLS} kills, {len(ids)} messages: {counted['accepted', 1]} accepted with one mail each, given up "
          f"{counted['gave_up', 1]} with their mail and {counted['gave_up', 0]} without")


class Postgres:
    """A server of its own, if its programs are here."""

    def __init__(self):
        programs = [shutil.which("initdb"), *sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))]
        self.initdb = next((program for program in programs if program), None)
        if not self.initdb:
            sys.exit("PostgreSQL's programs are not here")
        self.data, self.port = SCRATCH / "postgres", free_port()
        self.data.mkdir()
        # PostgreSQL refuses to run as root.
        self.as_user = []
        if os.getuid() == 0:
            run("chown", "postgres", self.data)
            for folder in [SCRATCH, *SCRATCH.parents]:
                if folder != pathlib.Path("/") and not folder.stat().st_mode & 0o001:
                    folder.chmod(folder.stat().st_mode | 0o001)
            self.as_user = ["runuser", "-u", "postgres", "--"]
        run(*self.as_user, self.initdb, "-D", self.data, "-A", "trust", "-U", "herald", "--locale=C", "-E", "UTF8")
        options = f"-p {self.port} -k {self.data} -c listen_addresses=127.0.0.1"
        subprocess.run([*self.as_user, pathlib.Path(self.initdb).parent / "pg_ctl", "-D", self.data, "-w", "-o", options,
                        "-l", self.data / "log", "start"], check=True, stdout=subprocess.DEVNULL)

    def url(self):
        return f"postgres://herald@127.0.0.1:{self.port}/postgres"

    def stop(self):
        subprocess.run([*self.as_user, pathlib.Path(self.initdb).parent / "pg_ctl", "-D", self.data, "-m", "immediate",
                        "-w", "stop"], stdout=subprocess.DEVNULL)


def main():
    random.seed(20261201)
    boxes = Mailboxes()
    ca, context = authority("an-authority")
    other_ca, _ = authority("another-authority")
    starttls, implicit = MailServer(boxes, context, False), MailServer(boxes, context, True)
    starttls.start()
    implicit.start()
    postgres = None
    try:
        # Beside each other: most of their time is the wait for a server that stalls.
        both = [threading.Thread(target=guarded, args=(mails_over, tls, boxes, server, ca))
                for tls, server in [("starttls", starttls), ("implicit", implicit)]]
        for one in both:
            one.start()
        for one in both:
            one.join()
        if FAILED:
            sys.exit(FAILED[0])
        expect("every mail came over TLS", boxes.protected, {True})
        place = f"localhost:{starttls.port}"
        refused("unknown-authority", f"smtp://{USER}:{PASSWORD}@{place}", None, "UnknownIssuer")
        refused("another-one", f"smtp://{USER}:{PASSWORD}@{place}", other_ca, "UnknownIssuer")
        refused("wrong-password", f"smtp://{USER}:wrong@{place}", ca, "does not accept the user name or the password")
        kills("sqlite", boxes, starttls, ca)
        postgres = Postgres()
        kills("postgres", boxes, starttls, ca, postgres.url())
    finally:
        starttls.stop()
        implicit.stop()
        if postgres:
            postgres.stop()


FAILED = []


def guarded(work, *words):
    try:
        work(*words)
    except SystemExit as end:
        FAILED.append(str(end))
    except Exception as error:
        FAILED.append(repr(error))


main()
