"""One attack on the memory of a running container, while a prober, a kept connection and an operator go on asking.

  memory.py ATTACK PROBE_PORT ADMIN_PORT SECONDS

Prints what was answered; ends with 1 where any of the three was not answered often enough.
"""

import resource
import select
import socket
import sys
import threading
import time

attack, probe, admin, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))


def connect(port, unread=False):
    one = socket.socket()
    if unread:
        # As far as the next machine: loopback hands over far more at once.
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    one.settimeout(1)
    one.connect(("127.0.0.1", port))
    return one


def get(path, more=b""):
    return b"GET " + path + b" HTTP/1.1\r\nhost: localhost\r\n" + more + b"\r\n"


MANY_FIELDS = b"".join(b"x-%02d: %s\r\n" % (i, b"v" * 132) for i in range(98))
HALF_HEAD = b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 900_000
HALF_BODY = (
    b"PUT /v1/plan HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1048000\r\n\r\n"
    + b" " * 1_000_000
)
# Connections, port, what each sends, whether it reads nothing.
ATTACKS = {
    "fields": (900, probe, get(b"/readyz", MANY_FIELDS), False),
    "heads": (330, probe, HALF_HEAD, False),
    "admin-heads": (64, admin, HALF_HEAD, False),
    "bodies": (64, admin, HALF_BODY, False),
    "states": (60, admin, get(b"/v1/state"), True),
    "state": (1, admin, get(b"/v1/state"), False),
    "metrics": (200, probe, get(b"/metrics"), True),
    "drip": (100, probe, get(b"/startupz"), True),
}


def crowd(until):
    """Opens all connections, sends on all at once as far as each takes it, and holds them."""
    count, port, request, unread = ATTACKS[attack]
    rest = {}
    for _ in range(count):
        try:
            one = connect(port, unread)
            one.setblocking(False)
            rest[one] = memoryview(request)
        except OSError:
            pass
    held = set(rest)
    answered = {}
    while time.monotonic() < until:
        readers = [] if unread else list(held)
        readable, writable, _ = select.select(readers, [one for one in rest if one in held], [], 0.2)
        for one in writable:
            try:
                rest[one] = rest[one][one.send(rest[one][:65536]):]
            except BlockingIOError:
                continue
            except OSError:
                held.discard(one)
            if not rest[one]:
                del rest[one]
        for one in readable:
            try:
                data = one.recv(65536)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if data.startswith(b"HTTP/1.1 "):
                code = data[9:12].decode()
                answered[code] = answered.get(code, 0) + 1
            if not data:
                held.discard(one)
    return count, answered


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


PROBE = get(b"/healthz", b"user-agent: kube-probe/1.36\r\n")
until = time.monotonic() + seconds
askers = {
    "probe": (probe, PROBE, False),
    "kept": (probe, PROBE, True),
    "admin": (admin, get(b"/healthz"), False),
}
results = {name: [] for name in askers}
threads = [threading.Thread(target=asks, args=(results[name], until, *askers[name])) for name in askers]
for thread in threads:
    thread.start()
count, answered = crowd(until)
for thread in threads:
    thread.join()
# A timeout of one second, as the kubelet's default has it, may end an attempt or two on a busy machine.
enough = all(answers and sum(answers) >= 0.9 * len(answers) for answers in results.values())
shown = " ".join(f"{name} {sum(answers)}/{len(answers)}" for name, answers in results.items())
print(f"{shown}  answers to the {count}: {answered or '-'}")
sys.exit(0 if enough else 1)
