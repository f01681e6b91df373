"""One attack on the memory of a running container, while a prober, a kept connection and an operator send requests.

  memory.py ATTACK PROBE_PORT SECONDS

Prints what was answered; ends with 1 where any of the three was not answered often enough.
"""

import multiprocessing
import resource
import selectors
import socket
import sys
import threading
import time

from attacks import ATTACKS
from hostile import get, upstream

attack, probe, seconds = ATTACKS[sys.argv[1]], int(sys.argv[2]), float(sys.argv[3])
admin = probe + 1
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))


def connect(port, unread=False):
    one = socket.socket()
    if unread:
        # As over a network: loopback passes far larger segments.
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    one.settimeout(1)
    one.connect(("127.0.0.1", port))
    return one


class Crowd:
    """Opens all connections, sends on all as much as each accepts, and holds them. Floods are repeated."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.rest = {}
        self.came = 0
        self.answered = {}

    def come(self):
        try:
            one = connect(probe + attack.listener, attack.unread)
        except OSError:
            return
        one.setblocking(False)
        self.came += 1
        self.rest[one] = memoryview(attack.request or attack.flood)
        self.selector.register(one, selectors.EVENT_WRITE if attack.unread else selectors.EVENT_WRITE | selectors.EVENT_READ)

    def go(self, one):
        self.selector.unregister(one)
        del self.rest[one]
        one.close()

    def send(self, one):
        left = self.rest[one]
        left = left[one.send(left[: 1 if attack.trickle else 65536]):]
        if attack.trickle:
            self.selector.modify(one, selectors.EVENT_READ)
        if not left and not attack.flood:
            if attack.unread:
                self.selector.unregister(one)
            else:
                self.selector.modify(one, selectors.EVENT_READ)
        self.rest[one] = left or memoryview(attack.flood)

    def hold(self, until):
        for _ in range(attack.connections):
            self.come()
        resumed = time.monotonic()
        while time.monotonic() < until:
            if attack.trickle and time.monotonic() > resumed + 1:
                resumed += 1
                for one in self.rest:
                    self.selector.modify(one, selectors.EVENT_READ | selectors.EVENT_WRITE)
            if attack.flood:
                for _ in range(attack.connections - len(self.rest)):
                    self.come()
            for key, events in self.selector.select(0.2):
                self.handle(key.fileobj, events)

    def handle(self, one, events):
        try:
            if events & selectors.EVENT_READ:
                data = one.recv(65536)
                if data.startswith(b"HTTP/1.1 "):
                    code = data[9:12].decode()
                    self.answered[code] = self.answered.get(code, 0) + 1
                if not data:
                    return self.go(one)
            if events & selectors.EVENT_WRITE:
                self.send(one)
        except BlockingIOError:
            pass
        except OSError:
            self.go(one)


def ask(one, request):
    one.sendall(request)
    return one.recv(65536).startswith(b"HTTP/1.1 200")


def asks(results, until, port, request, kept):
    one = None
    while time.monotonic() < until:
        ok = False
        try:
            one = one if kept and one else connect(port)
            ok = ask(one, request)
        except OSError:
            pass
        if not (kept and ok):
            if one:
                one.close()
            one = None
        results.append(ok)
        time.sleep(0.1)


def attacks(until, told):
    """In a process of its own, so that it does not slow down the measuring clients."""
    if attack.upstream:
        upstream(attack.upstream == "endless", probe + 3)
    crowd = Crowd()
    crowd.hold(until)
    told.put((crowd.came, crowd.answered))


PROBE = get(b"/healthz", b"user-agent: kube-probe/1.36\r\n")
until = time.monotonic() + seconds
processes = multiprocessing.get_context("fork")
told = processes.Queue()
attacker = processes.Process(target=attacks, args=(until, told))
attacker.start()
askers = {
    "probe": (probe, PROBE, False),
    "kept": (probe, PROBE, True),
    "admin": (admin, get(b"/healthz"), False),
}
results = {name: [] for name in askers}
threads = [threading.Thread(target=asks, args=(results[name], until, *askers[name])) for name in askers]
for thread in threads:
    thread.start()
came, answered = told.get()
for thread in threads:
    thread.join()
attacker.kill()
# With the kubelet's default timeout of one second, one or two attempts may fail on a busy machine. In a run of two
# seconds, of few attempts, the first burst alone can cost three.
shares = {"probe": 0.95, "kept": 0.9, "admin": 0.9} if seconds >= 6 else dict.fromkeys(askers, 2 / 3)
enough = all(answers and sum(answers) >= shares[name] * len(answers) for name, answers in results.items())
shown = " ".join(f"{name} {sum(answers)}/{len(answers)}" for name, answers in results.items())
print(f"{shown}  answers to the {came}: {answered or '-'}")
sys.exit(0 if enough else 1)
