"""A rolling update under load: services with an application behind them replace each other, and no request is lost.

Usage: rolling.py BINARY

Kubernetes ends a Pod and takes its endpoint away at the same time; clients hear of it later. Here they go on for half a
second, some over connections that they keep, some over one connection for each request that must not be repeated.
"""

import asyncio
import collections
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request

HOST = "127.0.0.1"
FIRST_PORT = 18960
GENERATIONS = 3
LATE = 0.5


async def application(reader, writer):
    """Answers each request after a few milliseconds."""
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.002)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\napp")
            await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
        writer.close()


def start(generation, upstream):
    port, admin = FIRST_PORT + 2 * generation, FIRST_PORT + 2 * generation + 1
    environment = {"PATH": os.environ["PATH"], "PORT": str(port), "ADMIN_ADDRESS": f"{HOST}:{admin}", "SHUTDOWN_DELAY": "2s",
                   "UPSTREAM": f"http://{HOST}:{upstream}"}
    process = subprocess.Popen([sys.argv[1]], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://{HOST}:{admin}/healthz", timeout=1)
            break
        except OSError:
            time.sleep(0.05)
    return process, port


class Load:
    def __init__(self):
        self.endpoints, self.answers, self.lost, self.ends = [], 0, collections.Counter(), False

    def count(self, head):
        status = head[9:12].decode() or "no answer"
        self.answers += status == "200"
        self.lost[status] += status != "200"

    async def keeps_connections(self):
        while not self.ends:
            try:
                reader, writer = await asyncio.open_connection(HOST, random.choice(self.endpoints))
                for _ in range(50):
                    writer.write(b"GET / HTTP/1.1\r\nHost: app\r\n\r\n")
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                    await reader.readexactly(3)
                    self.count(head)
                    if self.ends or b"connection: close" in head.lower():
                        break
                    await asyncio.sleep(random.uniform(0, 0.01))
                writer.close()
            except (OSError, EOFError) as error:
                self.lost[type(error).__name__] += 1

    async def connects_each_time(self):
        while not self.ends:
            try:
                reader, writer = await asyncio.open_connection(HOST, random.choice(self.endpoints))
                writer.write(b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                self.count(await asyncio.wait_for(reader.read(), 5))
                writer.close()
            except (OSError, EOFError) as error:
                self.lost[type(error).__name__] += 1
            await asyncio.sleep(0.003)


async def run():
    server = await asyncio.start_server(application, HOST, 0, backlog=512)
    upstream = server.sockets[0].getsockname()[1]
    load = Load()
    process, port = start(0, upstream)
    load.endpoints.append(port)
    clients = [asyncio.create_task(client()) for client in [load.keeps_connections] * 20 + [load.connects_each_time] * 10]
    await asyncio.sleep(1)
    for generation in range(1, GENERATIONS + 1):
        new, port = await asyncio.to_thread(start, generation, upstream)
        load.endpoints.append(port)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(LATE)
        load.endpoints.pop(0)
        assert await asyncio.to_thread(process.wait, 20) == 0, process.returncode
        process = new
    load.ends = True
    await asyncio.gather(*clients)
    process.terminate()
    process.wait()
    assert load.answers > 1000 and not +load.lost, (load.answers, load.lost)
    print(f"{GENERATIONS} updates: {load.answers} answers, none lost")


asyncio.run(run())
