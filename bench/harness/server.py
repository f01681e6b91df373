"""A server to measure: on a core of its own, observed through /proc."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import machine

PATIENCE = 20


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(address, path, timeout=PATIENCE):
    """The status and the body of one GET over its own connection."""
    with socket.create_connection(address, timeout=timeout) as stream:
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {address[0]}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := stream.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode(errors="replace")


class Server:
    """A running server. `goal` is the argument of the load client: ADDRESS/PATH. Without a path it speaks no HTTP."""

    def __init__(self, pid, port, path, child=None, host="127.0.0.1"):
        self.pid, self.port, self.path, self.child, self.host = pid, port, path, child, host

    @property
    def goal(self):
        return f"{self.host}:{self.port}{self.path}"

    def cpu_seconds(self):
        """CPU time of all threads, to the nanosecond."""
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            # A thread may have ended.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def resident_bytes(self):
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Rss:\s+(\d+) kB", text, re.MULTILINE)[1]) * 1024

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def wait_until_up(self):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError, IndexError):
                if self.path is None:
                    socket.create_connection((self.host, self.port), timeout=1).close()
                    return self
                if ask((self.host, self.port), self.path, 2)[0] < 600:
                    return self
            if self.child and self.child.poll() is not None:
                raise RuntimeError(f"the server has ended with {self.child.returncode}; its log: {self.child.log}")
            time.sleep(0.02)
        raise RuntimeError(f"no answer from {self.host}:{self.port}{self.path or ''}")

    def stop(self):
        if self.child and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            end = time.monotonic() + PATIENCE
            while self.child.poll() is None and time.monotonic() < end:
                try:
                    self.child.wait(2)
                except subprocess.TimeoutExpired:
                    # Under valgrind a signal may fail to wake a loop that waits for sockets.
                    with contextlib.suppress(OSError):
                        socket.create_connection((self.host, self.port), timeout=1).close()
            if self.child.poll() is None:
                self.child.kill()
                self.child.wait()


@contextlib.contextmanager
def running(command, port, environment=None, path="/healthz", core=machine.SERVER_CORE, host="127.0.0.1"):
    """Starts a server on a core, yields it once it answers, and stops it."""
    log = machine.WORK / f"server-{port}.log"
    pinned = ["taskset", "--cpu-list", str(core), *map(str, command)]
    machine.note(pinned, environment)
    with open(log, "w") as out:
        child = subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                 env={**os.environ, **(environment or {})})
    child.log = log
    server = Server(child.pid, port, path, child, host)
    try:
        yield server.wait_until_up()
    finally:
        server.stop()


def listening_pid(port):
    """The process that listens on a port of this machine; None for a service elsewhere."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for file in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(file) in inodes:
                        return int(process.name)
    return None
