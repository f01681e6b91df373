"""Runs the service through everything, again and again: nothing may drift."""

import asyncio
import json
import random
import socket
import subprocess
import time

from . import machine, server
from .clients import Crowd
from .exposition import Scrape
from .ledger import Ledger, differences

# A cycle, in seconds: work, a check, then three partitions under load.
WORK, CYCLE = 9, 19
CUTS = {"drop": 12, "refuse": 14, "reset": 16}
CUT_LENGTH = 1
# Time to recover between the last partition and the next cycle.
HEALED = 17.5

CLIENTS = 150
BACKGROUND = 16

# How much memory may vary without being a leak, in addition to a tenth of it.
SLACK = 512 << 10
# Cycles until everything that is initialised on first use has been used.
WARM_UP = 2

MODES = {
    "status": {"status": 503}, "redirect": {}, "hang": {}, "close": {}, "reset": {}, "garbage": {},
    "truncate": {"body": "1KiB"}, "body-hang": {"body": 10}, "body-reset": {"body": 10}, "malformed": {"body": 10},
    "drip": {"drip": "100ms"},
}


def plan(variant=0):
    """A plan with every mode; variants differ in rates and sometimes in the number of rules."""
    rate = [6, 3, 9, 6][variant % 4]
    faults = [{"name": f"cut-{mode}", "target": "listener", "mode": mode,
               "when": {"after": f"{after}s", "for": f"{CUT_LENGTH}s", "every": f"{CYCLE}s"}}
              for mode, after in CUTS.items()]
    faults += [{"name": f"traffic-{mode}", "target": "traffic", "mode": mode, "rate": f"{rate}%", **more}
               for number, (mode, more) in enumerate(MODES.items()) if variant == 0 or number != variant % 20]
    faults += [
        {"name": "slow", "target": ["traffic", "readiness"], "delay": {"fixed": "5ms", "jitter": "5ms"}},
        {"name": "flaps", "target": "readiness", "mode": "status", "rate": "20%", "burst": 3},
        {"name": "third", "target": "startup", "mode": "status",
         "when": {"requests": {"after": 2, "for": 1, "every": 3}}},
        {"name": "depends", "target": "dependency", "mode": "status", "rate": "10%"},
        {"name": "spread", "target": "liveness", "delay": {"distribution": "exponential", "mean": "2ms"}},
    ]
    if variant % 2:
        faults.append({"name": f"passing-{variant % 50}", "target": "startup", "mode": "status", "rate": "5%"})
    return {"seed": 42, "faults": faults}


def grown(before, after, name, **labels):
    """By how much a sum grew between two scrapes."""
    return after.sum(name, **labels) - before.sum(name, **labels)


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
        """Changes the plan; returns the status and the answer."""
        body = json.dumps(document).encode()
        head = (f"PUT /v1/plan HTTP/1.1\r\nHost: 127.0.0.1:{self.address[1]}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n").encode()
        with socket.create_connection(self.address, timeout=10) as stream:
            stream.sendall(head + body)
            answer = b""
            while chunk := stream.recv(65536):
                answer += chunk
        return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2].decode(errors="replace")[:500]


class Soak:
    """One process, and its resources after the warm-up."""

    def __init__(self, running, admin_port, began):
        self.server, self.admin, self.began = running, Admin(admin_port), began
        self.base = None
        self.variant = 0
        self.total = 0
        # The first change is the plan that is already in force.
        status, said = self.admin.put(plan())
        self.changes = status != 404
        if self.changes:
            self.expect_changed(status, said)
        else:
            print("there is no /v1/plan: changes of the plan are left out", flush=True)

    @staticmethod
    def expect_changed(status, said):
        if not 200 <= status < 300:
            raise Drift(f"PUT /v1/plan is answered {status}: {said}")

    def now(self):
        """Seconds since the start of the service, which its partitions follow."""
        return time.monotonic() - self.began

    async def cycle(self, number):
        """One round of everything; returns a line about it."""
        start = number * CYCLE
        if self.now() > start + 2:
            raise Busy(f"cycle {number + 1} began {self.now() - start:.1f} s late")
        before, ledger = self.settled(), Ledger()
        background = subprocess.Popen(
            ["taskset", "--cpu-list", str(machine.CLIENT_CORE), machine.LOAD, "cost", self.server.goal,
             str(BACKGROUND), str(max(1, start + WORK - 0.5 - self.now()))],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        loop_end = asyncio.get_running_loop().time() + start + WORK - self.now()
        crowd = Crowd(self.server.port, ledger, number)
        plans = await asyncio.gather(self.change_plans(start + WORK - 0.5), crowd.run(CLIENTS, loop_end))
        self.count_background(background, ledger)
        after = self.settled()
        wrong = differences(ledger, before, after)
        if plans[0]:
            generations = grown(before, after, "probesim_plan_generation")
            if generations != plans[0]:
                wrong.append(f"{plans[0]} changes of the plan, {generations:.0f} generations")
        if wrong:
            raise Drift("; ".join(wrong))
        sent = sum(account.sent for account in ledger.values())
        self.total += sent
        line = self.compare(number)
        await self.cuts(start)
        return f"cycle {number + 1}: {sent:,} requests, {plans[0]} plans, {line}"

    async def change_plans(self, end):
        count = 0
        while self.changes and self.now() < end:
            self.variant += 1
            status, said = await asyncio.to_thread(self.admin.put, plan(self.variant))
            self.expect_changed(status, said)
            count += 1
            await asyncio.sleep(random.uniform(0, 0.2))
        return count

    @staticmethod
    def count_background(background, ledger):
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
        account.unsure += BACKGROUND

    def settled(self):
        """A scrape while no connection is open."""
        end = time.monotonic() + 3
        while True:
            scrape = self.admin.scrape()
            left = scrape.sum("probesim_connections")
            if left == 0 and not scrape.sum("probesim_listener_up") == 0:
                return scrape
            if time.monotonic() > end:
                raise Drift(f"{left:.0f} connections are left over, listener_up is "
                            f"{scrape.sum('probesim_listener_up'):.0f}")
            time.sleep(0.1)

    def compare(self, number):
        """Compares the resources of the process with those after the warm-up; returns a line about it."""
        # The least of several samples: the scrape's own connection may still be open.
        looks = []
        for _ in range(5):
            time.sleep(0.1)
            looks.append((self.server.files(), self.server.threads(), self.server.resident_bytes()))
        now = {name: min(values) for name, values in zip(("files", "threads", "resident"), zip(*looks))}
        line = f"{now['resident'] / 1024:,.0f} KiB resident, {now['files']} files, {now['threads']} threads"
        if number < WARM_UP:
            self.base = now
            return line
        if now["files"] > self.base["files"] or now["threads"] > self.base["threads"]:
            raise Drift(f"there were {self.base['files']} files and {self.base['threads']} threads; {line}")
        if now["resident"] > self.base["resident"] * 1.1 + SLACK:
            raise Drift(f"{self.base['resident'] / 1024:,.0f} KiB were resident after cycle {WARM_UP}; {line}")
        return line

    async def cuts(self, start):
        """Load while the network is cut and heals. What arrives is uncertain; the service must go on."""
        if self.now() > start + min(CUTS.values()):
            raise Busy(f"the look at cycle {start // CYCLE + 1} came into its cuts")
        before, ledger = self.admin.scrape(), Ledger()
        loop_end = asyncio.get_running_loop().time() + start + HEALED - self.now()
        await Crowd(self.server.port, ledger, start).run(CLIENTS, loop_end)
        after = self.settled()
        for target, account in ledger.items():
            counted = grown(before, after, "probesim_requests_total", target=target)
            if counted > account.sent:
                raise Drift(f"{target}: {account.sent} requests were sent during cuts, {counted:.0f} counted")
        for mode in CUTS:
            if grown(before, after, "probesim_fault_active_seconds_total", fault=f"cut-{mode}") < CUT_LENGTH / 2:
                raise Drift(f"the cut by {mode} did not come")
        status, _ = await asyncio.to_thread(server.ask, ("127.0.0.1", self.server.port), "/livez", 5)
        if status != 200:
            raise Drift(f"after the cuts, liveness answers {status}")
        await asyncio.sleep(max(0, start + CYCLE - self.now()))


def run(seconds, program):
    """Soaks for about this long, at least two cycles beyond the warm-up; raises Drift."""
    cycles = max(WARM_UP + 2, round(seconds / CYCLE))
    port, admin_port = server.free_port(), server.free_port()
    environment = {"PORT": str(port), "BIND_ADDRESS": "127.0.0.1", "ADMIN_ADDRESS": f"127.0.0.1:{admin_port}",
                   "TRAFFIC_PATHS": "/api/*", "READINESS_CHECKS_DEPENDENCY": "false", "FAULTS": json.dumps(plan())}
    began = time.monotonic()
    with server.running([program], port, environment, path="/livez") as running:
        soak = Soak(running, admin_port, began)

        async def all_cycles():
            for number in range(cycles):
                print(await soak.cycle(number), flush=True)

        asyncio.run(all_cycles())
    if running.child.returncode != 0:
        raise Drift(f"it ended with {running.child.returncode}")
    if "panicked" in (text := running.child.log.read_text(errors="replace")):
        raise Drift(f"a task panicked: {text[max(0, text.index('panicked') - 200):][:600]}")
    return f"{soak.total:,} requests in {cycles} cycles, all accounted for; nothing is left over"
