"""The settings of a run of bench/run, and the samples it collects."""

import time
from collections import defaultdict
from dataclasses import dataclass

from . import machine


@dataclass
class Context:
    """Rounds, and lengths as multiples of those of a full run."""

    services: list
    rounds: int = 5
    pace: float = 1.0

    def interleaved(self, services):
        """A B C A B C …: a disturbance of the machine affects all of them."""
        for turn in range(self.rounds):
            machine.say(f"round {turn + 1} of {self.rounds}")
            yield from services


class Samples:
    """Samples by service and figure."""

    def __init__(self):
        self.all = defaultdict(lambda: defaultdict(list))

    def add(self, service, **figures):
        for figure, value in figures.items():
            self.all[service][figure].append(value)


class CoreWatch:
    """How much of the server's core others used during a measurement, which is the source of its noise."""

    def __init__(self, server):
        self.server = server
        self.began, self.core = time.monotonic(), machine.core_busy_seconds(machine.SERVER_CORE)
        self.cpu = server.cpu_seconds() if server.pid else None

    def end(self):
        """CPU seconds of the server, and the share of the core that others used."""
        if self.cpu is None:
            return None, None
        cpu = self.server.cpu_seconds() - self.cpu
        busy = machine.core_busy_seconds(machine.SERVER_CORE) - self.core
        return cpu, max(0.0, (busy - cpu) / (time.monotonic() - self.began))
