"""A TCP proxy under load: thousands of connections, peers that never read, half-closed connections, and many bytes in each mode.

Usage: tcp_load.py BINARY [MIB]    MIB is how much goes through each mode, 64 unless given
"""

import asyncio
import hashlib
import json
import os
import resource
import socket
import subprocess
import sys
import time
import urllib.request

HOST = "127.0.0.1"
ADMIN = "http://127.0.0.1:18931"
SERVERS = {"echo": 18971, "source": 18972, "deaf": 18973}
PROXIES = {name: port + 10 for name, port in SERVERS.items()}
CONNECTIONS, UNDER_A_FAULT = 4000, 1000
MIB = int(sys.argv[2]) if len(sys.argv) > 2 else 64
PATTERN = bytes(range(251)) * 4177


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        pass
    writer.close()


async def source(reader, writer):
    try:
        for _ in range(MIB):
            writer.write(PATTERN)
            await writer.drain()
    except OSError:
        pass
    writer.close()


async def deaf(reader, writer):
    writer.transport.pause_reading()
    await asyncio.sleep(4)
    # Closing with unread data resets the connection.
    writer.transport.abort()


def metric(start, *labels):
    text = urllib.request.urlopen(ADMIN + "/metrics", timeout=10).read().decode()
    lines = [line for line in text.splitlines() if line.startswith(start)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in labels))


async def measured(start, *labels):
    return await asyncio.to_thread(metric, start, *labels)


async def until(wanted, start, *labels):
    for _ in range(300):
        if await measured(start, *labels) == wanted:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{start} {labels} is {await measured(start, *labels)} instead of {wanted}")


def put(name, **fields):
    body = json.dumps(fields).encode() if fields else None
    headers = {"Content-Type": "application/json"} if fields else {}
    request = urllib.request.Request(f"{ADMIN}/v1/faults/{name}", body, headers, method="PUT" if fields else "DELETE")
    urllib.request.urlopen(request, timeout=10)


async def rule(name, **fields):
    await asyncio.to_thread(put, name, **fields)


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))


async def ask(connection, number):
    reader, writer = connection
    sent = hashlib.sha256(b"%d" % number).digest() * 32
    writer.write(sent)
    assert await reader.readexactly(len(sent)) == sent


async def many_connections(pid):
    """All connections are served, faulted ones too, and cost little while idle."""
    share = f"{100 * UNDER_A_FAULT // CONNECTIONS}%"
    await rule("slow", target="echo", delay="30ms", rate=share)
    before, open_connections = resident(pid), []
    for _ in range(CONNECTIONS // 100):
        new = [asyncio.open_connection(HOST, PROXIES["echo"], limit=4096) for _ in range(100)]
        open_connections += await asyncio.gather(*new)
    await asyncio.gather(*(ask(connection, number) for number, connection in enumerate(open_connections)))
    await until(CONNECTIONS, "probesim_proxy_connections{", '"echo"')
    each = (resident(pid) - before) / CONNECTIONS
    slow = await measured("probesim_faults_injected_total", '"slow"')
    assert 0.8 * UNDER_A_FAULT < slow < 1.2 * UNDER_A_FAULT, slow
    assert each <= 8192, each
    # After a half-close, the other direction still carries the answer.
    for _, writer in open_connections:
        writer.write_eof()
    ends = await asyncio.gather(*(reader.read() for reader, _ in open_connections))
    assert set(ends) == {b""}
    await until(CONNECTIONS, "probesim_proxy_connections_total", '"echo"', '"completed"')
    await until(0, "probesim_proxy_connections{", '"echo"')
    await rule("slow")
    print(f"{CONNECTIONS} connections, {slow:.0f} of them slow: {each:.0f} bytes each while idle")


async def peers_that_never_read():
    """Data waiting for them is bounded, and other connections are not affected."""
    clients = [socket.create_connection((HOST, PROXIES["source"])) for _ in range(20)]
    writers = []
    for _ in range(20):
        _, writer = await asyncio.open_connection(HOST, PROXIES["deaf"])
        writer.write(PATTERN * 4)
        writers.append(writer)
    await asyncio.sleep(1)
    held = await measured("probesim_client_memory_bytes")
    assert held < 40 * (160 << 10), held
    connection = await asyncio.open_connection(HOST, PROXIES["echo"])
    began = time.monotonic()
    await ask(connection, 7)
    assert time.monotonic() - began < 1
    for client in clients:
        client.close()
    for writer in writers + [connection[1]]:
        writer.transport.abort()
    for name in PROXIES:
        await until(0, "probesim_proxy_connections{", f'"{name}"')
    print(f"40 peers that never read: {held / 1024:.0f} KiB held")


async def through(name, **fields):
    """All bytes arrive in order, except those that the mode changes."""
    if fields:
        await rule(name, target="source", **fields)
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(HOST, PROXIES["source"])
    seen, length, changed = hashlib.sha256(), 0, 0
    while data := await reader.read(1 << 20):
        if name == "corrupt":
            at = length % len(PATTERN)
            expected = (PATTERN * 3)[at:at + len(data)]
            changed += sum(a != b for a, b in zip(data[:1000], expected))
        seen.update(data)
        length += len(data)
    writer.close()
    took = time.monotonic() - began
    if fields:
        await rule(name)
    expected = hashlib.sha256()
    for _ in range(MIB):
        expected.update(PATTERN)
    assert length == MIB * len(PATTERN), (name, length)
    if name == "corrupt":
        assert changed > 0 and seen.digest() != expected.digest()
    else:
        assert seen.digest() == expected.digest(), name
    print(f"{name}: {length >> 20} MiB in {took:.1f} s")


async def run(pid):
    limit = 2 << 20
    servers = [await asyncio.start_server(serve, HOST, SERVERS[serve.__name__], limit=4096 if serve is deaf else limit, backlog=1024) for serve in (echo, source, deaf)]
    for _ in range(100):
        try:
            await asyncio.to_thread(urllib.request.urlopen, ADMIN + "/healthz", timeout=1)
            break
        except OSError:
            await asyncio.sleep(0.1)
    await many_connections(pid)
    await peers_that_never_read()
    await through("none")
    await through("delay", delay="20ms")
    await through("throttle", mode="throttle", speed="512MiB")
    await through("slice", mode="slice", piece=30_000, piece_jitter=20_000, pause="0s")
    await through("corrupt", mode="corrupt", share="1%")
    assert await measured("probesim_limits_hit_total") == 0
    for server in servers:
        server.close()


def main():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    proxies = ",".join(f"{name}={HOST}:{PROXIES[name]}->{HOST}:{port}" for name, port in SERVERS.items())
    variables = {"PATH": os.environ["PATH"], "PORT": "18930", "ADMIN_ADDRESS": "127.0.0.1:18931", "SEED": "42", "PROXIES": proxies}
    process = subprocess.Popen([sys.argv[1]], env=variables, stdout=subprocess.DEVNULL)
    try:
        asyncio.run(run(process.pid))
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0, process.returncode
    print("tcp load: ok")


main()
