#!/usr/bin/env python3
"""Compares the counted memory of clients with the memory that they make the process hold.

  held.py BINARY [KIND...]

For each kind of client a process is started, many such clients come, and its resident memory has to grow by no more
than `probesim_client_memory_bytes`. Memory of the kernel is charged, too, but not measured here.
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request

from hostile import MANY_FIELDS, get, post, streams, upstream

binary, only = sys.argv[1], sys.argv[2:]

SLOW = [
    {"name": "slow", "target": "readiness", "delay": "60s"},
    {"name": "drip", "target": "startup", "mode": "drip", "body": "64MiB", "drip": "2s"},
]
RULES = [{"name": f"rule-{i}", "target": "dependency", "mode": "status", "rate": "1%"} for i in range(990)]
PLAN = (
    b"PUT /v1/plan HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n"
    + b" " * 500_000
)


SILENT, ENDLESS = upstream(False), upstream(True)
with socket.create_server(("127.0.0.1", 0)) as free:
    PROXY = free.getsockname()[1]
BIG_FIELDS = [(b"x-%02d" % i, b"v" * 140) for i in range(98)]
SMALL_FIELDS = [(b"cookie", b"a")] * 400
DISTINCT_FIELDS = [(b"n%d" % i, b"") for i in range(400)]
SLOW_PROXY = [{"name": "slow-proxy", "target": "db", "delay": "60s", "stream": "both"}]
TCP = {"PROXIES": f"db=127.0.0.1:{PROXY}->{ENDLESS.removeprefix('http://')}"}
# Clients, listener, what each sends, rules, variables.
KINDS = {
    "idle": (400, "probe", b"", [], {}),
    "idle-admin": (60, "admin", b"", [], {}),
    "waiting": (300, "probe", get(b"/readyz"), SLOW, {}),
    "waiting-fields": (300, "probe", get(b"/readyz", MANY_FIELDS), SLOW, {}),
    "waiting-repeated": (100, "probe", get(b"/readyz", b"a:b\r\n" * 96), SLOW, {}),
    "half-head": (300, "probe", b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 3000, [], {}),
    "large-half-head": (100, "probe", b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 100_000, [], {}),
    "body": (100, "probe", post(b"/readyz", 500_000), SLOW, {}),
    "body-admin": (40, "admin", PLAN, [], {}),
    "unread-state": (40, "admin", get(b"/v1/state"), RULES, {}),
    "unread-metrics": (100, "probe", get(b"/metrics"), RULES, {}),
    "unread-drip": (100, "probe", get(b"/startupz"), SLOW, {}),
    "listener-of-events": (16, "admin", get(b"/v1/events", b"accept: text/event-stream\r\n"), [], {}),
    "http2": (100, "probe", streams(1, b"/readyz"), SLOW, {}),
    "http2-streams": (20, "probe", streams(100, b"/readyz"), SLOW, {}),
    "http2-fields": (10, "probe", streams(100, b"/readyz", BIG_FIELDS), SLOW, {}),
    "http2-repeated": (10, "probe", streams(100, b"/readyz", SMALL_FIELDS), SLOW, {}),
    "http2-distinct": (10, "probe", streams(100, b"/readyz", DISTINCT_FIELDS), SLOW, {}),
    "http2-bodies": (50, "probe", streams(4, b"/readyz", data=b"z" * 16000), SLOW, {}),
    "proxied": (200, "probe", get(b"/x"), [], {"UPSTREAM": SILENT}),
    "proxied-fields": (200, "probe", get(b"/x", MANY_FIELDS), [], {"UPSTREAM": SILENT}),
    "proxied-http2": (10, "probe", streams(100, b"/x"), [], {"UPSTREAM": SILENT}),
    "proxied-upload": (60, "probe", post(b"/x", 3_000_000), [], {"UPSTREAM": SILENT}),
    "proxied-unread": (60, "probe", get(b"/x"), [], {"UPSTREAM": ENDLESS}),
    "tls-idle": (100, "probe", b"", [], {"TLS": "self-signed"}),
    "tls-waiting": (100, "probe", get(b"/readyz", MANY_FIELDS), SLOW, {"TLS": "self-signed"}),
    "tls-body": (60, "probe", post(b"/readyz", 20_000), SLOW, {"TLS": "self-signed"}),
    "tcp-idle": (200, PROXY, b"", [], TCP),
    "tcp-unread": (60, PROXY, b"x", [], TCP),
    "tcp-delayed": (60, PROXY, b"x" * 1_000_000, SLOW_PROXY, TCP),
    "tcp-delayed-little": (200, PROXY, b"x" * 1000, SLOW_PROXY, TCP),
    "named-idle": (200, PROXY, b"", [], {"PROXIES": f"stock=127.0.0.1:{PROXY}->{SILENT}"}),
    "named-waiting": (200, PROXY, get(b"/x", MANY_FIELDS), [], {"PROXIES": f"stock=127.0.0.1:{PROXY}->{SILENT}"}),
    "named-unread": (60, PROXY, get(b"/x"), [], {"PROXIES": f"stock=127.0.0.1:{PROXY}->{ENDLESS}"}),
}


class Service:
    def __init__(self, rules, variables):
        env = {"PORT": "0", "ADMIN_ADDRESS": "127.0.0.1:0", "LOG_FORMAT": "json", "MAX_HEAD_SIZE": "1MiB"}
        env |= {"FAULTS": json.dumps({"faults": rules}) if rules else "", **variables}
        self.process = subprocess.Popen([binary], env=env, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            started = json.loads(line)
            if started["message"] == "started":
                self.ports = {name: int(started[name].rsplit(":", 1)[1]) for name in ("probe", "admin")}
                break
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon:"))

    def charged(self):
        url = f"http://127.0.0.1:{self.ports['admin']}/metrics"
        lines = urllib.request.urlopen(url, timeout=10).read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("probesim_client_memory_bytes "))


def client(port, data, encrypted):
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    one.settimeout(5)
    one.connect(("127.0.0.1", port))
    if encrypted:
        one = ssl._create_unverified_context().wrap_socket(one)
        one.sendall(data)
        return one
    one.setblocking(False)
    end = time.monotonic() + 2
    while data and time.monotonic() < end:
        try:
            data = data[one.send(data[:65536]):]
        except BlockingIOError:
            time.sleep(0.002)
    return one


failed = 0
print(f"{'kind':20} {'clients':>7} {'resident':>9} {'charged':>9}  bytes for each")
for name, (count, port, data, rules, variables) in KINDS.items():
    if only and name not in only:
        continue
    service = Service(rules, variables)
    try:
        service.charged()
        time.sleep(0.2)
        resident, charged = service.resident(), service.charged()
        clients = [client(service.ports.get(port, port), data, "TLS" in variables) for _ in range(count)]
        time.sleep(0.7)
        resident, charged = service.resident() - resident, service.charged() - charged
        is_low = charged < resident
        failed += is_low
        print(f"{name:20} {count:7} {resident // count:9} {charged / count:9.0f}  {'TOO LOW' if is_low else ''}", flush=True)
        for one in clients:
            one.close()
    finally:
        service.process.kill()
        service.process.wait()
sys.exit(1 if failed else 0)
