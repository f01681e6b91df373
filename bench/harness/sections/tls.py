"""What TLS, HTTP/2 and gRPC cost: beside nginx, HAProxy, grpc-go, the libraries alone, and HTTP/1.1 without TLS."""

import contextlib
import os
import re
import ssl
import struct
import subprocess
import time
import urllib.request

from .. import machine, server
from ..context import Samples
from ..load import client
from ..services import OURS, ROOMY, rendered
from ..stats import spread, summary
from ..table import markdown

TITLE = "TLS, HTTP/2 and gRPC"

NGINX, HAPROXY, GRPC_GO, BARE = "nginx", "HAProxy", "grpc-go", "bare hyper"
NO_TLS, SELF_SIGNED = f"{OURS}, no TLS", f"{OURS}, self-signed"
CONNECTIONS, STREAMS = 16, 10
GRPC_PROGRAM = machine.WORK / "grpc-go"
STARTS = 5
# Seconds after which a connection holds no buffers.
REST = 2.5


def run(context):
    chain, key, both = certificate()
    own = {"TLS_CERT_FILE": chain, "TLS_KEY_FILE": key}
    samples = Samples()
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(probesim(server.free_port(), **own))
        servers = {OURS: (ours, ours.port)}
        if machine.tool("nginx"):
            servers[NGINX] = stack.enter_context(nginx(chain, key))
        if machine.tool("haproxy"):
            servers[HAPROXY] = stack.enter_context(haproxy(both))
        servers[BARE] = stack.enter_context(bare(chain, key))
        calls = {OURS: ours}
        if grpc_go_is_built():
            calls[GRPC_GO] = stack.enter_context(grpc_go())
        seconds = max(1, round(3 * context.pace))
        for name in context.interleaved(servers):
            running, secure = servers[name]
            machine.say(f"TLS, {name}")
            if name not in (HAPROXY, BARE):
                samples.add(name, handshake=handshake(running, secure, seconds))
                samples.add(name, kept=kept(running, f"https://127.0.0.1:{secure}/healthz", seconds))
                samples.add(name, plain=kept(running, f"http://127.0.0.1:{running.port}/healthz", seconds))
            if name != NGINX:
                samples.add(name, http2=http2(running, f"https://127.0.0.1:{secure}/healthz", seconds))
            if name == OURS:
                for called, callee in calls.items():
                    samples.add(called, call=grpc_call(callee, seconds))
                memory_and_start(samples)
    return {name: {figure: summary(values) for figure, values in figures.items()} for name, figures in samples.all.items()}


def certificate():
    """The files of a certificate of ECDSA P-256, of its key, and of both together."""
    chain, key, both = (machine.WORK / f"tls.{suffix}" for suffix in ("crt", "key", "pem"))
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "7"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(["openssl", "req", "-x509", *curve, *names, "-keyout", key, "-out", chain], check=True, capture_output=True)
    both.write_text(chain.read_text() + key.read_text())
    return str(chain), str(key), str(both)


def probesim(port, **environment):
    own = {**ROOMY, "PORT": str(port), "BIND_ADDRESS": "127.0.0.1", "ADMIN_ADDRESS": "127.0.0.1:0", "SEED": "42"}
    return server.running([machine.PROGRAM], port, own | environment)


@contextlib.contextmanager
def nginx(chain, key):
    port, secure = server.free_port(), server.free_port()
    file = rendered("tls-nginx.conf", port, SECURE=secure, CHAIN=chain, KEY=key)
    with server.running([machine.tool("nginx"), "-c", file, "-p", file.parent, "-e", "stderr"], port) as running:
        yield running, secure


@contextlib.contextmanager
def haproxy(both):
    port, secure = server.free_port(), server.free_port()
    file = rendered("tls-haproxy.cfg", port, SECURE=secure, BOTH=both)
    with server.running([machine.tool("haproxy"), "-db", "-f", file], port) as running:
        yield running, secure


@contextlib.contextmanager
def bare(chain, key):
    """HTTP/2 over TLS by the same libraries, and nothing else."""
    port, secure = server.free_port(), server.free_port()
    with server.running([machine.BASELINES / "http2-server", port, secure, chain, key], port) as running:
        yield running, secure


def grpc_go_is_built():
    """Builds the server of grpc-go; false where Go or the sources are missing."""
    if not machine.tool("go") or not machine.GRPC_SOURCES.exists():
        return False
    own = {"GO111MODULE": "off", "GOPATH": str(machine.GRPC_SOURCES.parents[2]), "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    flags = ["-trimpath", "-ldflags", "-s -w", "-o", GRPC_PROGRAM, "."]
    machine.check("go", "build", *flags, cwd=machine.ROOT / "bench" / "baselines" / "grpc-go", env={**os.environ, **own})
    return True


@contextlib.contextmanager
def grpc_go():
    calls, check = server.free_port(), server.free_port()
    with server.running([GRPC_PROGRAM, calls, check], check) as running:
        # It answers calls on a port of their own.
        running.port = calls
        yield running


def handshake(running, port, seconds):
    """CPU time of the server per full handshake of TLS 1.3, in microseconds."""
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-tls1_3", "-time", seconds]
    count, cpu = measured(running, command, r"(\d+) connections in \d+ real seconds")
    return cpu / count * 1e6


def kept(running, url, seconds):
    """CPU time of the server per request over HTTP/1.1 with kept connections, in microseconds."""
    count, cpu = measured(running, [machine.tool("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url], r"(\d+) requests in")
    return cpu / count * 1e6


def http2(running, url, seconds, more=()):
    """CPU time of the server per request over HTTP/2 with kept connections, in microseconds."""
    load = ["h2load", "-t1", f"-c{CONNECTIONS}", f"-m{STREAMS}", f"-D{seconds}", *more, url]
    count, cpu = measured(running, load, r"(\d+) 2xx")
    return cpu / count * 1e6


def grpc_call(running, seconds):
    """CPU time of the server per `Check`, in microseconds."""
    message = machine.WORK / "check"
    message.write_bytes(struct.pack(">BI", 0, 0))
    head = ["-H", "content-type: application/grpc", "-H", "te: trailers", "-d", str(message)]
    return http2(running, f"http://127.0.0.1:{running.port}/grpc.health.v1.Health/Check", seconds, head)


def measured(running, command, pattern):
    """Runs a client on its core. Returns the count in its output, and CPU seconds of the server."""
    pinned = ["taskset", "--cpu-list", str(machine.CLIENT_CORE), *map(str, command)]
    machine.note(pinned)
    before = running.cpu_seconds()
    text = machine.output(*pinned)
    cpu = running.cpu_seconds() - before
    counts = re.findall(pattern, text)
    if not counts or int(counts[-1]) == 0:
        raise RuntimeError(f"{command[0]} got no answers: {text}")
    return int(counts[-1]), cpu


def memory_and_start(samples):
    """Resident memory without TLS, with TLS and after a request over TLS, in KiB; time to the first answer, in ms."""
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    for name, environment in ((NO_TLS, {}), (SELF_SIGNED, {"TLS": "self-signed"})):
        with probesim(server.free_port(), **environment) as running:
            if environment:
                urllib.request.urlopen(f"https://127.0.0.1:{running.port}/healthz", context=anyone).close()
            time.sleep(REST)
            samples.add(name, idle=running.resident_bytes() / 1024)
        for _ in range(STARTS):
            port = server.free_port()
            own = {**ROOMY, "PORT": str(port), "BIND_ADDRESS": "127.0.0.1", "ADMIN_ADDRESS": "127.0.0.1:0", **environment}
            began = client("start", f"127.0.0.1:{port}/healthz", machine.SERVER_CORE, machine.PROGRAM, environment=own)
            samples.add(name, start=began["seconds"] * 1000)


def report(data):
    figures = {"handshake": "CPU per handshake, µs", "plain": "HTTP/1.1 without TLS, µs", "kept": "HTTP/1.1 over TLS, µs",
               "http2": "HTTP/2 over TLS, µs", "call": "gRPC `Check`, µs", "idle": "resident, KiB", "start": "start, ms"}
    rows = [[name, *(spread(of[figure]) if figure in of else "" for figure in figures)] for name, of in data.items()]
    return f"""\
{markdown(["", *figures.values()], rows)}

Handshakes are full ones of TLS 1.3 with a certificate of ECDSA P-256. Requests and calls: CPU time of the server for each, with
{CONNECTIONS} kept connections, over HTTP/2 with {STREAMS} streams each. `self-signed`: memory after a request over TLS; the time from exec to
the first answer, which is over plain HTTP. bare hyper is a server of nothing but the libraries that kube-probesim uses.
"""
