"""The load of `bench ingest` (bench/src/load.rs) against any server: the same bodies, signatures and order."""

import asyncio
import hmac
import resource
import time
from dataclasses import dataclass, field

NOTIFICATIONS = 200_000
STATUSES = ("sent", "delivered", "read")
WHOLE = 2**64 - 1


def wamid(notification: int) -> str:
    return f"wamid.BENCH{notification:012}"


def numbers(seed: int):
    """xorshift64*, the same every time."""
    state = seed
    while True:
        state ^= state >> 12
        state ^= (state << 25) & WHOLE
        state ^= state >> 27
        yield (state * 0x2545F4914F6CDD1D) & WHOLE


def body(notification: int, status: str, era: str, contacts: bool) -> bytes:
    pricing = (
        ""
        if status == "read"
        else ',"pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}'
    )
    whom = '"contacts":[{"wa_id":"12025550101"}],' if contacts else ""
    return (
        '{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"value":'
        '{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881",'
        f'"phone_number_id":"106540352242922"}},{whom}"statuses":[{{"id":"{wamid(notification)}","status":"{status}",'
        f'"timestamp":"1763692{800 + notification % 100:03}","recipient_id":"12025550101",'
        f'"biz_opaque_callback_data":"{era}-8000-{notification:012x}"{pricing}}}]}},"field":"messages"}}]}}]}}'
    ).encode()


def signed(body: bytes, path: str, app_secret: str) -> bytes:
    signature = hmac.digest(app_secret.encode(), body, "sha256").hex()
    return (
        f"POST {path} HTTP/1.1\r\nHost: herald\r\nContent-Type: application/json\r\n"
        f"X-Hub-Signature-256: sha256={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def shots(count: int, path: str, app_secret: str, contacts: bool) -> list[bytes]:
    """Distinct (notification, status) in random order, as signed requests."""
    millisecond = f"{int(time.time() * 1000):012x}"
    era = f"{millisecond[:8]}-{millisecond[8:]}-7000"
    order = list(range(NOTIFICATIONS * len(STATUSES)))
    random = numbers(7)
    for place in range(min(count, len(order))):
        other = place + next(random) % (len(order) - place)
        order[place], order[other] = order[other], order[place]
    return [
        signed(body(number // 3, STATUSES[number % 3], era, contacts), path, app_secret) for number in order[:count]
    ]


@dataclass
class Outcome:
    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    ran_out: bool = False
    seconds: float = 0.0
    load_cpu_seconds: float = 0.0

    @property
    def acknowledged(self) -> int:
        return len(self.latencies)

    def percentile_ms(self, percent: int) -> float:
        """A latency that this share of requests stayed under."""
        ordered = sorted(self.latencies)
        place = min(len(ordered) * percent // 100, len(ordered) - 1)
        return ordered[place] * 1000 if ordered else 0.0


class Shooter(asyncio.Protocol):
    """One kept-alive connection: a request, its answer, the next request.

    A protocol and no stream: the load is to leave the machine to what is measured."""

    def __init__(self, requests, until: float, outcome: Outcome):
        self.requests, self.until, self.outcome = requests, until, outcome
        self.answer = b""
        self.waiting = False
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.fire()

    def fire(self):
        self.sent = time.perf_counter()
        request = next(self.requests, None) if self.sent < self.until else None
        if request is None:
            self.outcome.ran_out |= self.sent < self.until
            self.transport.close()
            return
        self.waiting = True
        self.transport.write(request)

    def data_received(self, data):
        self.answer += data
        if not is_complete(self.answer):
            return
        if self.answer.startswith(b"HTTP/1.1 200"):
            self.outcome.latencies.append(time.perf_counter() - self.sent)
        else:
            self.outcome.refused += 1
        self.answer, self.waiting = b"", False
        self.fire()

    def connection_lost(self, _):
        self.outcome.refused += self.waiting
        if not self.ended.done():
            self.ended.set_result(None)


def is_complete(answer: bytes) -> bool:
    """The head and as much body as it announces."""
    head, end, rest = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(rest) >= int(line[15:])
    return True


async def fire(port: int, requests: list[bytes], connections: int, seconds: float) -> Outcome:
    """Fires until the time is up. A connection that breaks is made again; its request was refused."""
    outcome, supply, loop = Outcome(), iter(requests), asyncio.get_running_loop()
    started, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    until = started + seconds

    async def connection():
        while time.perf_counter() < until and not outcome.ran_out:
            try:
                _, shooter = await loop.create_connection(lambda: Shooter(supply, until, outcome), "127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.005)
                continue
            await shooter.ended

    await asyncio.gather(*(connection() for _ in range(connections)))
    outcome.seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    outcome.load_cpu_seconds = after.ru_utime - cpu.ru_utime + after.ru_stime - cpu.ru_stime
    return outcome
