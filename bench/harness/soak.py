"""Runs the service through everything, again and again: nothing may drift."""

import asyncio
import json
import random
import socket
import subprocess
import time
from collections import Counter
from dataclasses import dataclass

from . import machine, server
from .clients import Crowd
from .exposition import Scrape
from .ledger import Ledger, differences
from .parts import Application, Calls, Connections, Echo, Page, Secure, Toxiproxy, grown, stock

# A cycle, in seconds: work, a check, three partitions under load, then an instant without file descriptors.
WORK, CYCLE = 9, 19
CUTS = {"drop": 12, "refuse": 14, "reset": 16}
CUT_LENGTH = 1
# Time to recover between the last partition and the next cycle.
HEALED = 17.5
# Faults of the process: mode, fields, and the window in a cycle.
PROCESS = [("memory", {"size": "16MiB"}, 12, 2), ("cpu", {"cores": 0.1}, 13, 2), ("ignore-term", {}, 12, 2), ("fds", {}, 18, 0.5)]

# How much memory may vary without being a leak, in addition to a tenth of it.
SLACK = 512 << 10
# By how much the others may exceed what they were after the warm-up: the page and the scrape have connections of their own.
ALLOWED = {"files": 2, "threads": 3, "tasks": 4, "clients": 2 << 20, "held": 0}
# Seconds after which no idle connection to an application is left, nor what was reserved for it.
POOLED = 12
# Memory of the page's stream and of one of its polls.
ALLOWED_AT_REST = 160 << 10
# Cycles until everything that is initialised on first use has been used.
WARM_UP = 2

MODES = {
    "status": {"status": 503}, "redirect": {}, "hang": {}, "close": {}, "reset": {}, "garbage": {},
    "truncate": {"body": "1KiB"}, "body-hang": {"body": 10}, "body-reset": {"body": 10}, "malformed": {"body": 10},
    "drip": {"drip": "100ms"}, "throttle": {"speed": "20KiB"}, "corrupt": {"share": "1%"},
}
TCP_RULES = [
    {"name": "db-delay", "delay": {"fixed": "5ms", "jitter": "5ms"}, "stream": "both"},
    {"name": "db-slice", "mode": "slice", "piece": 700, "rate": "20%"},
    {"name": "db-throttle", "mode": "throttle", "speed": "200KiB", "rate": "20%"},
    {"name": "db-corrupt", "mode": "corrupt", "share": "1%", "rate": "10%"},
    {"name": "db-truncate", "mode": "truncate", "body": "1KiB", "rate": "5%"},
    {"name": "db-reset", "mode": "reset", "rate": "5%"},
    {"name": "db-hang", "mode": "hang", "close_after": "300ms", "rate": "3%"},
]


@dataclass
class Pace:
    """How much load there is. `calm` leaves most of the machine to others."""

    clients: int = 150
    pause: float = 0.02
    background: int = 16
    # Longest pause between two changes of the plan, in seconds.
    change: float = 0.2


CALM = Pace(clients=24, pause=0.4, background=0, change=1.0)


def plan(variant=0):
    """A plan with every mode; variants differ in rates and sometimes in the number of rules."""
    rate = [6, 3, 9, 6][variant % 4]
    faults = [{"name": f"cut-{mode}", "target": "listener", "mode": mode, "when": window(after, CUT_LENGTH)}
              for mode, after in CUTS.items()]
    faults += [{"name": f"process-{mode}", "target": "process", "mode": mode, **fields, "when": window(after, length)}
               for mode, fields, after, length in PROCESS]
    faults += [{"name": f"traffic-{mode}", "target": "traffic", "mode": mode, "rate": f"{rate}%", **more}
               for number, (mode, more) in enumerate(MODES.items()) if variant == 0 or number != variant % 20]
    faults += [{"target": "db", **rule} for rule in TCP_RULES]
    faults += [
        {"name": "slow", "target": ["traffic", "readiness"], "delay": {"fixed": "5ms", "jitter": "5ms"}},
        {"name": "flaps", "target": "readiness", "mode": "status", "rate": "20%", "burst": 3},
        {"name": "third", "target": "startup", "mode": "status",
         "when": {"requests": {"after": 2, "for": 1, "every": 3}}},
        {"name": "depends", "target": "dependency", "mode": "status", "rate": "10%"},
        # For who watches: it is wholly down, and up again.
        {"name": "dips", "target": "dependency", "mode": "status", "when": {"after": "1s", "for": "1s", "every": "3s"}},
        {"name": "spread", "target": "liveness", "delay": {"distribution": "exponential", "mean": "2ms"}},
        {"name": "stock-fails", "target": "stock", "mode": "status", "rate": f"{rate}%"},
        {"name": "stock-down", "target": "stock", "match": {"path": "/none/*"}, "mode": "close"},
        {"name": "stock-loses", "target": "stock", "forward": True, "mode": "close", "rate": "3%"},
    ]
    if variant % 2:
        faults.append({"name": f"passing-{variant % 50}", "target": "startup", "mode": "status", "rate": "5%"})
    return {"seed": 42, "faults": faults}


def least(looks):
    """The least of each figure in several samples."""
    names = ("files", "threads", "tasks", "clients", "held", "resident")
    return {name: int(min(values)) for name, values in zip(names, zip(*looks))}


def window(after, length):
    return {"after": f"{after}s", "for": f"{round(length * 1000)}ms", "every": f"{CYCLE}s"}


class Drift(Exception):
    """Something that should have stayed has changed."""


class Busy(Exception):
    """The machine is too busy to tell."""


class Admin:
    """The admin listener."""

    def __init__(self, port):
        self.address = ("127.0.0.1", port)

    def scrape(self):
        status, text = server.ask(self.address, "/metrics", 10)
        if status != 200:
            raise Drift(f"/metrics answers {status}")
        return Scrape(text)

    def put(self, document):
        """Changes the plan."""
        body = json.dumps(document).encode()
        head = (f"PUT /v1/plan HTTP/1.1\r\nHost: 127.0.0.1:{self.address[1]}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n").encode()
        with socket.create_connection(self.address, timeout=10) as stream:
            stream.sendall(head + body)
            answer = b""
            while chunk := stream.recv(65536):
                answer += chunk
        if not 200 <= int(answer.split()[1]) < 300:
            raise Drift(f"PUT /v1/plan is answered: {answer.decode(errors='replace')[:800]}")


@dataclass
class Ports:
    """Where the service listens, and what is behind it."""

    probe: int
    admin: int
    db: int
    stock: int
    toxiproxy: int

    def environment(self, application, echo):
        return {"PORT": str(self.probe), "BIND_ADDRESS": "127.0.0.1", "ADMIN_ADDRESS": f"127.0.0.1:{self.admin}",
                "TRAFFIC_PATHS": "/api/*", "READINESS_CHECKS_DEPENDENCY": "false", "FAULTS": json.dumps(plan()),
                "TLS": "self-signed", "UPSTREAM": f"http://127.0.0.1:{application.port}", "UPSTREAM_PROBES": "false",
                "TOXIPROXY_ADDRESS": f"127.0.0.1:{self.toxiproxy}", "LOG_LEVEL": "warn",
                "PROXIES": f"db=127.0.0.1:{self.db}->127.0.0.1:{echo.port}, "
                           f"stock=127.0.0.1:{self.stock}->http://127.0.0.1:{application.port}"}


class Soak:
    """One process, what is behind it, and its resources after the warm-up."""

    def __init__(self, running, program, ports, pace, application, echo):
        self.server, self.program, self.ports, self.pace = running, program, ports, pace
        self.application, self.echo = application, echo
        self.admin, self.page, self.toxiproxy = Admin(ports.admin), Page(ports.admin), Toxiproxy(ports.toxiproxy, echo)
        self.base, self.variant, self.totals = None, 0, Counter()
        # The service says when it began, which its partitions follow.
        self.began = time.monotonic() - (time.time() - self.admin.scrape().sum("process_start_time_seconds"))
        self.reserved = self.admin.scrape().sum("probesim_client_memory_bytes")
        # The first change is the plan that is already in force.
        self.admin.put(plan())

    def now(self):
        """Seconds since the start of the service."""
        return time.monotonic() - self.began

    async def cycle(self, number):
        """One round of everything; returns a line about it."""
        start = number * CYCLE
        if self.now() > start + 2:
            raise Busy(f"cycle {number + 1}: {self.now() - start:.1f} s late")
        await asyncio.sleep(max(0, start - self.now()))
        first = before = await self.settled()
        events = self.page.events
        plans, ledger, parts, load = await self.work(number, start + WORK)
        after = await self.settled()
        wrong = differences(ledger, before, after) + self.page.check(events)
        for part in parts:
            wrong += part.check(before, after)
        generations = grown(before, after, "probesim_plan_generation")
        if generations != plans + self.toxiproxy.changes:
            wrong.append(f"{plans} changes of the plan and {self.toxiproxy.changes} by toxiproxy, {generations:.0f} generations")
        if wrong:
            raise Drift("; ".join(wrong))
        sent = sum(account.sent for account in ledger.values())
        self.totals.update({"requests": sent, "changes of the plan": plans, "changes by toxiproxy's API": self.toxiproxy.changes,
                            "connections": load["connections"], "TLS handshakes": load["handshakes"],
                            "gRPC checks": load["checks"], "messages of Watch": load["messages"],
                            "connections through TCP proxies": load["tcp"]})
        self.toxiproxy.changes = 0
        line = await self.compare(number)
        await self.cuts(start)
        last = await self.settled()
        self.totals.update({"injected faults": grown(first, last, "probesim_faults_injected_total"), "partitions": len(CUTS),
                            "faults of the process": len(PROCESS),
                            "bytes through TCP proxies": grown(first, last, "probesim_proxy_bytes_total")})
        await asyncio.sleep(max(0, start + CYCLE - self.now()))
        return f"cycle {number + 1}: {sent:,} requests, {plans} plans, {line}"

    async def work(self, number, end):
        """Load of every kind until `end`. Returns the changes of the plan, and the accounts to compare."""
        until = asyncio.get_running_loop().time() + end - self.now()
        ledger, pace = Ledger(), self.pace
        crowd = Crowd(self.ports.probe, ledger, number, pause=pace.pause)
        shop = stock(self.ports.stock, ledger, number)
        shop.pause = pace.pause
        db, calls = Connections("db", self.ports.db, self.echo), Calls(self.ports.probe, ledger)
        secure = Secure(self.program, self.ports.probe, ledger)
        background = self.background(end - 0.5 - self.now())
        # Its bytes go through the same echo server, so it comes first, alone.
        toxic = await self.toxiproxy.run(number, until - WORK + 4)
        db.echoed = self.echo.bytes
        plans, *_ = await asyncio.gather(self.change_plans(end - 0.5), crowd.run(pace.clients, until), db.run(until),
                                         shop.run(max(2, pace.clients // 6), until), secure.run(until - 2), calls.run(until - 0.5))
        if background:
            self.count_background(background, ledger)
        load = {"connections": crowd.connections + shop.connections + secure.connections + 1, "handshakes": secure.handshakes,
                "checks": calls.checks, "messages": calls.messages, "tcp": db.opened + toxic.opened}
        return plans, ledger, [db, secure, calls], load

    async def change_plans(self, end):
        count = 0
        while self.now() < end:
            self.variant += 1
            await asyncio.to_thread(self.admin.put, plan(self.variant))
            count += 1
            await asyncio.sleep(random.uniform(0, self.pace.change))
        return count

    def background(self, seconds):
        """Starts the load client, if the pace asks for it."""
        if not self.pace.background:
            return None
        return subprocess.Popen(
            ["taskset", "--cpu-list", str(machine.CLIENT_CORE), machine.LOAD, "cost", self.server.goal,
             str(self.pace.background), str(max(1, seconds))],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def count_background(self, background, ledger):
        """The load client's requests; it does not know about those under way at its end."""
        text, _ = background.communicate()
        if background.returncode:
            raise Drift(f"the background load failed: {text.strip()}")
        result = json.loads(text)
        if result["failed"]:
            raise Drift(f"{result['failed']} answers of liveness were not 200, which no rule asks for")
        account = ledger["liveness"]
        account.sent += result["requests"]
        account.answered[200] += result["requests"]
        account.unsure += self.pace.background

    async def settled(self):
        """A scrape while no client's connection is open."""
        end = time.monotonic() + 6
        while True:
            scrape = await asyncio.to_thread(self.admin.scrape)
            left = scrape.sum("probesim_connections") + scrape.sum("probesim_proxy_connections")
            if left == 0 and scrape.sum("probesim_listener_up"):
                return scrape
            if time.monotonic() > end:
                raise Drift(f"{left:.0f} connections are left over, listener_up is "
                            f"{scrape.sum('probesim_listener_up'):.0f}")
            await asyncio.sleep(0.1)

    async def compare(self, number):
        """Compares the resources of the process with those after the warm-up; returns a line about it."""
        # The least of several samples, and of more while something exceeds: the scrape and the page have connections of
        # their own, and on a busy machine they end late.
        looks, end = [], time.monotonic() + 2
        while len(looks) < 5 or (self.base and self.exceeding(looks) and time.monotonic() < end):
            await asyncio.sleep(0.1)
            scrape = await asyncio.to_thread(self.admin.scrape)
            looks.append((self.server.files(), self.server.threads(), scrape.sum("probesim_tasks"),
                          scrape.sum("probesim_client_memory_bytes"), scrape.sum("probesim_process_memory_bytes"),
                          self.server.resident_bytes()))
        now = least(looks)
        line = (f"{now['resident'] / 1024:,.0f} KiB resident, {now['files']} files, {now['threads']} threads, "
                f"{now['tasks']} tasks, {now['clients']:,} bytes of clients, {now['held']:,} held by rules")
        if number < WARM_UP:
            self.base = now
            return line
        more = [f"{name}: {self.base[name]:,} after the warm-up" for name in self.exceeding(looks)]
        if more:
            raise Drift(f"{'; '.join(more)}; now {line}")
        self.totals["most resident, KiB"] = max(self.totals["most resident, KiB"], now["resident"] // 1024)
        return line

    async def rest(self):
        """After a while without clients, memory is reserved for the page and the scrape alone."""
        await asyncio.sleep(POOLED)
        left = (await asyncio.to_thread(self.admin.scrape)).sum("probesim_client_memory_bytes") - self.reserved
        if left > ALLOWED_AT_REST:
            raise Drift(f"{left:,.0f} bytes stay reserved for clients that are gone")

    def exceeding(self, looks):
        """The names of what exceeds what it was after the warm-up."""
        now, base = least(looks), self.base
        allowed = ALLOWED | {"resident": base["resident"] // 10 + SLACK}
        return [name for name, more in allowed.items() if now[name] > base[name] + more]

    async def cuts(self, start):
        """Load while the network is cut and heals. What arrives is uncertain; the service must go on."""
        if self.now() > start + min(CUTS.values()):
            raise Busy(f"cycle {start // CYCLE + 1}: the comparison took until its cuts")
        before, ledger = await asyncio.to_thread(self.admin.scrape), Ledger()
        loop_end = asyncio.get_running_loop().time() + start + HEALED - self.now()
        crowd = Crowd(self.ports.probe, ledger, start, pause=self.pace.pause)
        await crowd.run(self.pace.clients, loop_end)
        after = await self.settled()
        for target, account in ledger.items():
            counted = grown(before, after, "probesim_requests_total", target=target)
            if counted > account.sent + account.unsure:
                raise Drift(f"{target}: {account.sent} requests were sent during cuts, {counted:.0f} counted")
            self.totals["requests"] += int(counted)
        self.totals["connections"] += crowd.connections
        for rule in [*(f"cut-{mode}" for mode in CUTS), "process-memory", "process-cpu", "process-ignore-term"]:
            if grown(before, after, "probesim_fault_active_seconds_total", fault=rule) < CUT_LENGTH / 2:
                raise Drift(f"{rule} did not come")
        status, _ = await asyncio.to_thread(server.ask, ("127.0.0.1", self.server.port), "/livez", 5)
        if status != 200:
            raise Drift(f"after the cuts, liveness answers {status}")
        # Until the descriptors are back.
        await asyncio.sleep(max(0, start + 18.6 - self.now()))


def run(seconds, program, pace):
    """Soaks for about this long, at least two cycles beyond the warm-up; raises Drift."""
    cycles = max(WARM_UP + 2, round(seconds / CYCLE))
    ports = Ports(*(server.free_port() for _ in range(5)))
    application, echo = Application(), Echo()
    with server.running([program], ports.probe, ports.environment(application, echo), path="/livez") as running:

        async def all_cycles():
            await application.start()
            await echo.start()
            soak = Soak(running, program, ports, pace, application, echo)
            await soak.page.start()
            for number in range(cycles):
                try:
                    print(await soak.cycle(number), flush=True)
                except Busy as busy:
                    print(busy, flush=True)
                    soak.totals["cycles cut short, as the machine was busy"] += 1
                    if soak.totals["cycles cut short, as the machine was busy"] > cycles / 3:
                        raise
            await soak.rest()
            # The first message of each and, on an idle machine, one more whenever `dips` opens or closes.
            if soak.totals["messages of Watch"] < cycles:
                raise Drift(f"only {soak.totals['messages of Watch']} messages of Watch came")
            soak.totals.update({"events on the page's stream": soak.page.events, "requests of the page": soak.page.asked})
            soak.page.task.cancel()
            soak.page.poller.cancel()
            return soak.totals

        began = running.cpu_seconds()
        totals = asyncio.run(all_cycles())
        totals["CPU seconds of the service"] = round(running.cpu_seconds() - began)
    if running.child.returncode != 0:
        raise Drift(f"it ended with {running.child.returncode}")
    if "panicked" in (text := running.child.log.read_text(errors="replace")):
        raise Drift(f"a task panicked: {text[max(0, text.index('panicked') - 200):][:600]}")
    lines = "\n".join(f"{name}: {count:,.0f}" for name, count in totals.items())
    return f"{lines}\n{cycles} cycles, all accounted for; nothing is left over"
