"""The attacks of memory.py: the number of clients, what each sends, and the configuration of the service.

  attacks.py list                     prints their names
  attacks.py NAME PORT DIRECTORY      writes the rules and the variables of one into DIRECTORY
"""

import dataclasses
import json
import pathlib
import struct
import sys

from hostile import (
    CONTINUATION, DATA, END_HEADERS, HEADERS, MANY_FIELDS, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    client_hello, field, frame, get, head, opening, post, streams,
)

SLOW = [
    {"name": "slow", "target": "readiness", "delay": "30s"},
    {"name": "drip", "target": "startup", "mode": "drip", "body": "64MiB", "drip": "2s"},
]
RULES = [{"name": f"rule-{i}", "target": "dependency", "mode": "status", "rate": "1%"} for i in range(996)]
FLAPPING = [{"name": "flapping", "target": "readiness", "mode": "status", "when": {"for": "20ms", "every": "40ms"}}]
LONG = [{"name": "long", "target": "startup", "mode": "drip", "body": "16MiB", "drip": "1ms"}]
SLOW_PROXY = [{"name": "slow-proxy", "target": "db", "delay": "30s", "stream": "both"}]


@dataclasses.dataclass
class Attack:
    """`connections` clients, each of which sends `request`, then `flood` again and again."""

    connections: int
    request: bytes
    flood: bytes = b""
    # The distance of the listener's port from the probe listener's: 1 is the admin listener, 2 a proxy.
    listener: int = 0
    # Whether clients read nothing.
    unread: bool = False
    # Whether clients send one byte of `request` a second.
    trickle: bool = False
    rules: tuple = ()
    variables: dict = dataclasses.field(default_factory=dict)
    # The application behind it: `silent` never answers, `endless` never stops.
    upstream: str = ""


HALF_HEAD = b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 900_000
HALF_BODY = (
    b"PUT /v1/plan HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1048000\r\n\r\n"
    + b" " * 1_000_000
)
PREVIEW = HALF_BODY.replace(b"PUT /v1/plan", b"POST /v1/preview")
TLS = {"TLS": "self-signed"}
HELLO = client_hello()
# Complete records of a hello whose announced length is never reached.
LONG_HELLO = b"".join(
    b"\x16\x03\x01\x40\x00" + (b"\x01\x00\xff\xf0" if i == 0 else b"zzzz") + b"z" * 16380 for i in range(3)
)
PROXIED = {"UPSTREAM_PROBES": "false"}
RESETS = b"".join(head(i, b"/readyz") + frame(RST_STREAM, 0, i, struct.pack(">I", 8)) for i in range(1, 20_001, 2))
# One large field is stored in the table, and then referenced by one byte each time.
BOMB = b"".join(
    head(i, b"/readyz", flags=0) + frame(CONTINUATION, END_HEADERS, i, b"\xbe" * 16000) for i in range(3, 200, 2)
)
KEPT_FIELD = frame(HEADERS, END_HEADERS | 1, 1, b"\x82\x86\x84" + field(b"x", b"v" * 4000, 0x40))
ENDLESS_HEAD = opening() + head(1, b"/readyz", flags=0)
WATCH = frame(DATA, 1, 0, b"\x00" * 5)
WATCHES = opening(True) + b"".join(
    head(i, b"/grpc.health.v1.Health/Watch", [(b"content-type", b"application/grpc"), (b"te", b"trailers")], b"POST", END_HEADERS)
    + frame(DATA, 1, i, b"\x00" * 5)
    for i in range(1, 200, 2)
)

# Small lists inside one another: 17 bytes of text for eight lists.
NESTED = b'{"faults":[' + b"[[[[[[[[0]]]]]]]]," * 5800 + b"0]}"
CHUNKED = b"POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
TOXIPROXY = {"TOXIPROXY_ADDRESS": "127.0.0.1:{proxy}"}
BY_QUERY = [{"name": f"by-query-{i}", "target": "traffic", "mode": "hang", "match": {"query": {f"a{i}": "x"}}} for i in range(100)]


def put(path, body):
    head = b"PUT " + path + b" HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


ATTACKS = {
    "fields": Attack(900, get(b"/readyz", MANY_FIELDS), rules=SLOW),
    "heads": Attack(330, HALF_HEAD),
    "kept-heads": Attack(900, get(b"/healthz") + HALF_HEAD[:200]),
    "admin-heads": Attack(64, HALF_HEAD, listener=1),
    "trickle": Attack(900, HALF_HEAD, trickle=True),
    "pipelined": Attack(300, b"", get(b"/healthz") * 200, unread=True),
    "long-answers": Attack(300, b"", get(b"/startupz"), rules=LONG),
    "bodies": Attack(64, HALF_BODY, listener=1),
    "previews": Attack(64, PREVIEW, listener=1),
    "states": Attack(60, get(b"/v1/state"), listener=1, unread=True, rules=RULES),
    "state": Attack(1, get(b"/v1/state"), listener=1, rules=RULES),
    "targets": Attack(60, get(b"/v1/targets"), listener=1, unread=True, rules=RULES),
    "page": Attack(60, get(b"/", b"accept: text/html\r\n"), listener=1, unread=True),
    "events": Attack(60, get(b"/v1/events", b"accept: text/event-stream\r\n"), listener=1, unread=True, rules=FLAPPING),
    "metrics": Attack(200, get(b"/metrics"), unread=True, rules=RULES),
    "drip": Attack(100, get(b"/startupz"), unread=True, rules=SLOW),
    "tls-half-hello": Attack(2000, HELLO[:100], variables=TLS),
    "tls-hello": Attack(2000, HELLO, unread=True, variables=TLS),
    "tls-long-hello": Attack(500, LONG_HELLO, variables=TLS),
    "tls-hellos": Attack(50, b"", HELLO, variables=TLS),
    "h2-preface": Attack(2000, PREFACE[:-1]),
    "h2-idle": Attack(2000, opening(True)),
    "h2-drip": Attack(100, streams(100, b"/startupz", large_windows=True), unread=True, rules=SLOW),
    "h2-metrics": Attack(100, streams(100, b"/metrics", large_windows=True), unread=True, rules=RULES),
    "h2-waiting": Attack(100, streams(100, b"/readyz", [(b"x-%02d" % i, b"v" * 132) for i in range(98)]), rules=SLOW),
    "h2-bodies": Attack(100, streams(100, b"/readyz", data=b"z" * 16000, method=b"POST"), rules=SLOW),
    "h2-settings": Attack(50, opening(), frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)) * 500, unread=True),
    "h2-ping": Attack(50, opening(), frame(PING, 0, 0, b"pingpong") * 500, unread=True),
    "h2-resets": Attack(50, opening() + RESETS, unread=True),
    "h2-continuation": Attack(50, ENDLESS_HEAD, frame(CONTINUATION, 0, 1, field(b"x", b"v" * 1000)) * 20),
    "h2-continuation-0": Attack(50, ENDLESS_HEAD, frame(CONTINUATION, 0, 1) * 1000),
    "h2-bomb": Attack(50, opening() + KEPT_FIELD + BOMB, rules=SLOW),
    "h2-window-update": Attack(50, opening(), frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 1000),
    "h2-priority": Attack(50, opening(), b"".join(frame(PRIORITY, 0, i, b"\0\0\0\0\1") for i in range(1, 2001, 2))),
    "h2-empty-data": Attack(50, opening() + head(1, b"/readyz", (), b"POST", END_HEADERS), frame(DATA, 0, 1) * 1000, rules=SLOW),
    "h2-unknown": Attack(50, opening(), frame(0xEE, 0xFF, 0, b"z" * 16000)),
    "grpc-watches": Attack(50, WATCHES, unread=True, rules=FLAPPING),
    "tcp-unread": Attack(500, b"x", listener=2, unread=True, upstream="endless"),
    "tcp-upload": Attack(500, b"x", b"z" * 65536, listener=2, upstream="silent"),
    "tcp-delayed": Attack(200, b"x", b"z" * 65536, listener=2, unread=True, rules=SLOW_PROXY, upstream="endless"),
    "http-unread": Attack(300, get(b"/x"), unread=True, variables=PROXIED, upstream="endless"),
    "http-upload": Attack(300, post(b"/x", 0), b"z" * 65536, variables=PROXIED, upstream="silent"),
    "http-h2-upload": Attack(50, streams(100, b"/x", data=b"z" * 16000, method=b"POST"), variables=PROXIED, upstream="silent"),
    "query": Attack(300, get(b"/x?" + b"&".join(b"a%d=1" % i for i in range(400))), rules=BY_QUERY, variables={"TRAFFIC_PATHS": "/*"}),
    "chunk-extensions": Attack(300, CHUNKED, b"1;" + b"e" * 4000 + b"\r\nz\r\n", variables=PROXIED, upstream="silent"),
    "endless-trailers": Attack(300, CHUNKED + b"0\r\n", b"x: " + b"z" * 1000 + b"\r\n", variables=PROXIED, upstream="silent"),
    "upgrades": Attack(500, get(b"/x", b"connection: upgrade\r\nupgrade: websocket\r\n"), b"z" * 65536, unread=True, variables=PROXIED, upstream="endless"),
    "requested": Attack(300, get(b"/x?probesim-fault=mode%3Ddrip%3Bbody%3D1MiB"), unread=True, variables={"REQUEST_FAULTS": "true", "TRAFFIC_PATHS": "/*"}),
    "nested-lists": Attack(64, put(b"/v1/plan", NESTED), listener=1, unread=True),
    "toxiproxy-bodies": Attack(200, HALF_BODY.replace(b"PUT /v1/plan", b"POST /populate"), listener=2, variables=TOXIPROXY),
    "http-h2-unread": Attack(50, streams(100, b"/x", large_windows=True), unread=True, variables=PROXIED, upstream="endless"),
}

if __name__ == "__main__":
    if sys.argv[1] == "list":
        print(*ATTACKS)
        sys.exit()
    attack, port, directory = ATTACKS[sys.argv[1]], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    variables = {"PORT": port, "ADMIN_ADDRESS": f"127.0.0.1:{port + 1}", "MAX_HEAD_SIZE": "1MiB", "FAULTS_FILE": "/faults.json"}
    if attack.upstream and attack.listener == 2:
        variables["PROXIES"] = f"db=127.0.0.1:{port + 2}->127.0.0.1:{port + 3}"
    elif attack.upstream:
        variables["UPSTREAM"] = f"http://127.0.0.1:{port + 3}"
    variables |= {name: value.replace("{proxy}", str(port + 2)) for name, value in attack.variables.items()}
    (directory / "faults.json").write_text(json.dumps({"faults": list(attack.rules)}))
    (directory / "environment").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
