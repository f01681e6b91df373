"""The parts of the soak beside the crowd: each makes load of its own kind, and compares it with what was counted."""

import asyncio
import contextlib
import http.client
import json
import random
import re
import site

from . import machine, server
from .clients import PATIENCE, Crowd


def grown(before, after, name, **labels):
    """By how much a sum grew between two scrapes."""
    return after.sum(name, **labels) - before.sum(name, **labels)


def unequal(what, seen, counted):
    """A difference in words, or nothing."""
    return [] if seen == counted else [f"{what}: {seen:,} by the clients, {counted:,.0f} counted"]


class Application:
    """An HTTP server behind the service. It closes idle connections, so that none is pooled when the service is at rest."""

    IDLE = 0.3

    def __init__(self):
        self.port, self.requests = server.free_port(), 0

    async def start(self):
        await asyncio.start_server(self.serve, "127.0.0.1", self.port)

    async def serve(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            while True:
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), self.IDLE)
                self.requests += 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3000\r\n\r\n" + b"x" * 3000)
                await writer.drain()
        writer.close()


class Echo:
    """A TCP server that returns what it reads."""

    def __init__(self):
        self.port, self.bytes = server.free_port(), 0

    async def start(self):
        await asyncio.start_server(self.serve, "127.0.0.1", self.port)

    async def serve(self, reader, writer):
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                self.bytes += len(piece)
                writer.write(piece)
                await writer.drain()
        writer.close()


class Connections:
    """Clients of a TCP proxy: each sends a little, reads what comes back, and leaves."""

    def __init__(self, proxy, port, echo):
        self.proxy, self.port, self.echo = proxy, port, echo
        # A client that loses patience while it connects may or may not have reached the proxy.
        self.tried = self.opened = self.received = 0
        self.echoed = echo.bytes

    async def run(self, until, clients=3, pause=0.3):
        await asyncio.gather(*(self.client(until, pause) for _ in range(clients)))

    async def client(self, until, pause):
        while asyncio.get_running_loop().time() < until:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await self.one()
            await asyncio.sleep(random.uniform(0, pause))

    async def one(self):
        self.tried += 1
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), PATIENCE)
        self.opened += 1
        try:
            left = random.randint(1, 20_000)
            writer.write(random.randbytes(left))
            while left and (piece := await asyncio.wait_for(reader.read(65536), PATIENCE)):
                left -= len(piece)
                self.received += len(piece)
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), PATIENCE)

    def check(self, before, after):
        wrong, counted = [], grown(before, after, "probesim_proxy_connections_total", proxy=self.proxy)
        if not self.opened <= counted <= self.tried:
            wrong.append(f"{self.proxy}: {self.opened} of {self.tried} connections were opened, {counted:.0f} counted")
        passed = grown(before, after, "probesim_proxy_bytes_total", proxy=self.proxy, stream="downstream")
        # What a fault cuts off may not reach the client.
        if not self.received <= passed <= self.echo.bytes - self.echoed:
            wrong.append(f"{self.proxy}: {self.echo.bytes - self.echoed:,} bytes were echoed, {passed:,.0f} passed on,"
                         f" {self.received:,} received")
        return wrong


class Secure:
    """HTTP/2 and HTTP/1.1 over TLS by h2load, and the program's own prober as kubelet."""

    def __init__(self, program, port, ledger):
        self.program, self.port, self.ledger = program, port, ledger
        self.handshakes = self.connections = 0

    async def run(self, until):
        while asyncio.get_running_loop().time() < until:
            await self.load("https")
            await self.load("https", "--h1")
            await self.load("http")
            await self.probe(f"http://127.0.0.1:{self.port}/livez")
            await self.probe(f"https://127.0.0.1:{self.port}/livez")
            self.handshakes += 1
            await self.probe(f"grpc://127.0.0.1:{self.port}/liveness")
            await self.probe(f"tcp://127.0.0.1:{self.port}", requests=0)
            await asyncio.sleep(random.uniform(0.5, 1.5))

    async def load(self, scheme, *more):
        requests, connections = 60, 3
        text = await said("h2load", "-n", requests, "-c", connections, "-m", 1 if more else 5, *more,
                          f"{scheme}://127.0.0.1:{self.port}/livez")
        if f"{requests} succeeded" not in text:
            raise RuntimeError(f"h2load over {scheme} {more}: {text[-600:]}")
        self.count(requests, connections)
        self.handshakes += connections if scheme == "https" else 0

    async def probe(self, goal, requests=1):
        text = await said(self.program, "probe", "--timeout", "5s", goal)
        if not text.startswith("success"):
            raise RuntimeError(f"probe {goal}: {text}")
        self.count(requests, 1)

    def count(self, requests, connections):
        account = self.ledger["liveness"]
        account.sent += requests
        account.answered[200] += requests
        self.connections += connections

    def check(self, before, after):
        return unequal("handshakes", self.handshakes,
                       grown(before, after, "probesim_tls_handshakes_total", result="completed"))


async def said(*command):
    """What a command prints."""
    pipe = asyncio.subprocess.PIPE
    pinned = ["taskset", "--cpu-list", str(machine.CLIENT_CORE), *map(str, command)]
    child = await asyncio.create_subprocess_exec(*pinned, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    return (await child.communicate())[0].decode(errors="replace").strip()


class Calls:
    """gRPC: `Check` again and again, and one `Watch` that is held. The rule `dips` changes what it says."""

    def __init__(self, port, ledger):
        self.port, self.ledger = port, ledger
        self.checks = self.messages = 0

    async def run(self, until):
        site.addsitedir(next(machine.VENV.glob("lib/python*/site-packages")))
        import grpc  # pylint: disable=import-outside-toplevel
        from grpc_health.v1 import health_pb2, health_pb2_grpc  # pylint: disable=import-outside-toplevel
        clock = asyncio.get_running_loop()
        serving = health_pb2.HealthCheckResponse.SERVING
        # A channel of its own each time: by default, channels of one process share their connections.
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
            service = health_pb2_grpc.HealthStub(channel)
            watch = service.Watch(health_pb2.HealthCheckRequest(service="dependency"))
            holder = asyncio.create_task(self.hold(watch))
            while clock.time() < until:
                answer = await service.Check(health_pb2.HealthCheckRequest(service="liveness"))
                if answer.status != serving:
                    raise RuntimeError(f"Check answers {answer.status}, which no rule asks for")
                self.ledger["liveness"].sent += 1
                self.ledger["liveness"].answered[200] += 1
                self.checks += 1
                await asyncio.sleep(random.uniform(0, 0.1))
            if holder.done():
                raise RuntimeError(f"the Watch has ended: {holder.exception()}")
            watch.cancel()
            await asyncio.wait([holder])

    async def hold(self, watch):
        # Its status depends on when it arrives, and on a busy machine it may not arrive at all: the account leaves this open.
        self.ledger["dependency"].left += 1
        self.ledger["dependency"].unsure += 1
        async for _ in watch:
            self.messages += 1

    def check(self, _before, _after):
        # The checks are in the ledger.
        return []


class Page:
    """What the page does: it holds one stream of events, and asks for the targets each second and the state now and then."""

    def __init__(self, port):
        self.port, self.events, self.kinds, self.asked = port, 0, {}, 0
        self.task = None

    async def start(self):
        self.task = asyncio.create_task(self.hold())
        self.poller = asyncio.create_task(self.poll())

    async def hold(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        while line := await reader.readline():
            if match := re.match(rb"event: (\S+)", line):
                self.events += 1
                kind = match[1].decode()
                self.kinds[kind] = self.kinds.get(kind, 0) + 1

    async def poll(self):
        while True:
            for path in ["/v1/targets"] * 5 + ["/v1/state"]:
                status, _ = await asyncio.to_thread(server.ask, ("127.0.0.1", self.port), path, 10)
                if status != 200:
                    raise RuntimeError(f"{path} answers {status}")
                self.asked += 1
                await asyncio.sleep(1)

    def check(self, events_before):
        for task in (self.task, self.poller):
            if task.done():
                return [f"the page's connection has ended: {task.exception()}"]
        return [] if self.events > events_before else ["no event came in a cycle"]


class Toxiproxy:
    """Makes a proxy with toxics by toxiproxy's API, uses it, and takes it away."""

    TOXICS = [{"type": "latency", "attributes": {"latency": 5, "jitter": 2}},
              {"type": "bandwidth", "attributes": {"rate": 500}},
              {"type": "slicer", "attributes": {"average_size": 500, "size_variation": 100, "delay": 10}},
              {"type": "limit_data", "toxicity": 0.2, "attributes": {"bytes": 5000}},
              {"type": "reset_peer", "toxicity": 0.1, "attributes": {"timeout": 20}}]

    def __init__(self, port, echo):
        self.port, self.echo, self.changes = port, echo, 0
        self.listen = server.free_port()

    async def run(self, number, until):
        """Returns the connections it made."""
        name = f"toxic-{number % 10}"
        await self.call("POST", "/proxies", {"name": name, "listen": f"127.0.0.1:{self.listen}",
                                             "upstream": f"127.0.0.1:{self.echo.port}"}, 201)
        clients = Connections(name, self.listen, self.echo)
        for toxic in self.TOXICS:
            await self.call("POST", f"/proxies/{name}/toxics", toxic, 200)
            await clients.run(asyncio.get_running_loop().time() + 0.5)
            await self.call("DELETE", f"/proxies/{name}/toxics/{toxic['type']}_downstream", None, 204)
        await clients.run(until)
        await self.call("DELETE", f"/proxies/{name}", None, 204)
        # A partition has ended its connections first.
        self.changes += 1
        return clients

    async def call(self, method, path, body, expected):
        def ask():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.request(method, path, json.dumps(body) if body else None, {"User-Agent": "soak"})
            answer = connection.getresponse()
            text = answer.read()
            connection.close()
            return answer.status, text
        status, text = await asyncio.to_thread(ask)
        if status != expected:
            raise RuntimeError(f"toxiproxy's {method} {path} answers {status}: {text[:300]}")
        self.changes += 1


def stock(port, ledger, seed):
    """Clients of the named HTTP proxy."""
    return Crowd(port, ledger, seed, targets=["stock"], kinds=["keeps", "asks_once", "leaves"])
