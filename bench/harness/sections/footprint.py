"""Bytes on disk and in memory, and the time to start."""

import platform
import resource
import shutil
import socket
import time
from contextlib import ExitStack

from .. import machine
from ..context import Samples
from ..load import client
from ..server import free_port
from ..services import External
from ..stats import number, spread, summary
from ..table import markdown

TITLE = "Footprint"
CROWD = 10_000
STARTS = 5
# Seconds for a server to settle, and to free what an idle connection does not need.
REST = 0.2
LONG_REST = 2.5
MIB, KIB = 1 << 20, 1 << 10


def run(context):
    services = [service for service in context.services if not isinstance(service, External)]
    samples = Samples()
    machine.say("memory and start")
    for service in context.interleaved(services):
        with service.running() as server:
            time.sleep(REST)
            samples.add(service.name, idle=server.resident_bytes())
            client("cost", server.goal, 64, 0.5 * context.pace)
            time.sleep(REST)
            samples.add(service.name, after_load=server.resident_bytes())
        if service.crowd:
            samples.add(service.name, **crowd(service))
        for _ in range(STARTS):
            port = free_port()
            launch = service.launch(port, 0)
            result = client("start", f"127.0.0.1:{port}/healthz", machine.SERVER_CORE, *launch.command,
                            environment=launch.environment)
            samples.add(service.name, start_ms=result["seconds"] * 1000)
    data = {name: {figure: summary(values) for figure, values in figures.items()}
            for name, figures in samples.all.items()}
    for service in services:
        data[service.name]["binary"] = service.binary.stat().st_size
    size = image()
    if size:
        data[services[0].name]["image"] = size
    return data


def crowd(service):
    """Resident bytes for each of many connections: never used, just after a request, and idle for a while since."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most < CROWD + 100:
        machine.say(f"only {most} files may be open: {CROWD} connections are left out")
        return {}
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with service.running() as server, ExitStack() as stack:
        time.sleep(REST)
        before = server.resident_bytes()
        goal = (server.host, server.port)
        streams = []
        for number_of in range(CROWD):
            streams.append(stack.enter_context(socket.create_connection(goal, timeout=20)))
            # Not more than the listen backlog holds.
            if number_of % 100 == 99:
                time.sleep(0.002)
        settle(server, CROWD)
        unused = server.resident_bytes()
        request = f"GET {server.path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        for start in range(0, CROWD, 100):
            for stream in streams[start:start + 100]:
                stream.sendall(request)
            for stream in streams[start:start + 100]:
                if not stream.recv(4096).startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"{service.name} does not serve {CROWD} connections")
        time.sleep(REST)
        used = server.resident_bytes()
        time.sleep(LONG_REST)
        rested = server.resident_bytes()
    return {name: (bytes_then - before) / CROWD
            for name, bytes_then in (("unused", unused), ("used", used), ("rested", rested))}


def settle(server, files):
    """Waits until the server has accepted them all."""
    end = time.monotonic() + 10
    while server.files() < files and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(REST)


def image():
    """Bytes of the image of one file; None without podman."""
    if not machine.tool("podman"):
        return None
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    dist = machine.ROOT / "dist"
    dist.mkdir(exist_ok=True)
    shutil.copy(machine.PROGRAM, dist / f"kube-probesim-{arch}")
    name = "localhost/kube-probesim:bench"
    command = ["podman", "build", "--quiet", "--target", "prebuilt", "--platform", f"linux/{arch}",
               "-t", name, "."]
    machine.note(command)
    machine.output(*command, cwd=machine.ROOT)
    size = machine.output("podman", "image", "inspect", "--format", "{{.Size}}", name)
    return int(size) if size.isdigit() else None


def report(data):
    rows = []
    for name, figures in data.items():
        rows.append([
            name,
            number(figures["binary"] / 1e6),
            number(figures["image"] / 1e6) if "image" in figures else "",
            *(spread(figures[figure], 1 / unit) if figure in figures else ""
              for figure, unit in (("idle", MIB), ("after_load", MIB), ("unused", KIB), ("used", KIB), ("rested", KIB))),
            spread(figures["start_ms"]) if "start_ms" in figures else "",
        ])
    head = ["", "binary, MB", "image, MB", "resident idle, MiB", "after load, MiB", "per connection never used, KiB",
            f"{REST} s after a request, KiB", f"{REST + LONG_REST} s after, KiB", "exec to first 200, ms"]
    return markdown(head, rows) + f"""
Resident memory is `Rss` of `/proc/PID/smaps_rollup`. Load is half a second of 64 connections. Per connection: with
{CROWD:,} of them open, in a fresh process, less what the process had before; the kernel's share is not in it. Of the
binaries, nginx, HAProxy and Envoy need shared libraries besides.
"""
