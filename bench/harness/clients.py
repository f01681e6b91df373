"""Clients that come and go: some patient, some not, some broken."""

import asyncio
import contextlib
import random
import re

# Longer than any answer takes that comes, shorter than a hang.
PATIENCE = 1.0

PATHS = {"liveness": "/livez", "readiness": "/readyz", "startup": "/startupz", "dependency": "/dependency",
         "traffic": "/api/orders", "stock": "/items/1"}
# Most faults act on traffic.
TARGETS = ["traffic"] * 6 + ["readiness"] * 2 + ["startup", "dependency"]
AGENTS = ["kube-probe/1.36", "curl/8.0"]
KINDS = ["keeps", "keeps", "asks_once", "asks_once", "leaves", "half_a_head", "idles", "pipelines", "does_not_read"]


class Crowd:
    """Clients of one service. They record what they see in a ledger."""

    def __init__(self, port, ledger, seed, targets=TARGETS, kinds=KINDS, pause=0.02):
        self.port, self.ledger, self.random = port, ledger, random.Random(seed)
        self.targets, self.kinds, self.pause = targets, [getattr(self, kind) for kind in kinds], pause
        self.connections = 0

    async def run(self, count, until):
        """`count` clients at a time, until the loop's clock says so."""
        await asyncio.gather(*(self.client(until) for _ in range(count)))

    async def client(self, until):
        clock = asyncio.get_running_loop()
        while clock.time() < until:
            # A partition may end a connection at any moment.
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await self.random.choice(self.kinds)()
            await asyncio.sleep(self.random.uniform(0, self.pause))

    @contextlib.asynccontextmanager
    async def connected(self):
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), PATIENCE)
        self.connections += 1
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), PATIENCE)

    def request(self, target, close=False):
        self.ledger[target].sent += 1
        agent, end = self.random.choice(AGENTS), "Connection: close\r\n" if close else ""
        return f"GET {PATHS[target]} HTTP/1.1\r\nHost: soak\r\nUser-Agent: {agent}\r\n{end}\r\n".encode()

    async def keeps(self):
        async with self.connected() as (reader, writer):
            for _ in range(self.random.randint(1, 50)):
                target = self.random.choice(self.targets)
                writer.write(self.request(target))
                if not await self.answer(reader, target):
                    return

    async def asks_once(self):
        async with self.connected() as (reader, writer):
            target = self.random.choice(self.targets)
            writer.write(self.request(target, close=True))
            await self.answer(reader, target)

    async def leaves(self):
        async with self.connected() as (_, writer):
            target = self.random.choice(self.targets)
            writer.write(self.request(target))
            self.ledger[target].left += 1
            # Long enough for the request to be read: one that is reset earlier is not counted.
            await asyncio.sleep(0.5)

    async def half_a_head(self):
        async with self.connected() as (_, writer):
            writer.write(b"GET /livez HTTP/1.1\r\nHo")
            await asyncio.sleep(self.random.uniform(0, 0.1))

    async def idles(self):
        async with self.connected():
            await asyncio.sleep(self.random.uniform(0, 0.5))

    async def pipelines(self):
        async with self.connected() as (reader, writer):
            # Only if no fault ends the connection: otherwise the rest would not be read.
            targets = ["startup"] * self.random.randint(2, 10)
            writer.write(b"".join(self.request(target) for target in targets))
            for done, target in enumerate(targets):
                if not await self.answer(reader, target):
                    for rest in targets[done + 1:]:
                        self.ledger[rest].left += 1
                        self.ledger[rest].unsure += 1
                    return

    async def does_not_read(self):
        # With an application behind the service, they are traffic.
        self.ledger["traffic"].left += 5
        self.ledger["traffic"].unsure += 5
        async with self.connected() as (_, writer):
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: soak\r\n\r\n" * 5)
            await asyncio.sleep(self.random.uniform(0, 0.2))

    async def answer(self, reader, target):
        """Reads one answer and returns whether the connection can be used again."""
        account = self.ledger[target]
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        except asyncio.TimeoutError:
            account.left += 1
            return False
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            account.cut += 1
            return False
        if not head.startswith(b"HTTP/1."):
            account.cut += 1
            return False
        account.answered[int(head.split()[1])] += 1
        if fault := re.search(rb"(?i)\r\nx-probesim-fault: (\S+)", head):
            account.faults[fault[1].decode()] += 1
        try:
            await asyncio.wait_for(body(reader, head.lower()), PATIENCE)
        except (asyncio.TimeoutError, asyncio.IncompleteReadError, ConnectionError, ValueError):
            return False
        return b"connection: close" not in head.lower()


async def body(reader, head):
    """Reads a body to its end."""
    if length := re.search(rb"\r\ncontent-length: (\d+)", head):
        await reader.readexactly(int(length[1]))
    elif b"transfer-encoding: chunked" in head:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
