"""A running service for the other scripts, and its metrics. The script's first argument is the binary."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request

BINARY = sys.argv[1]
ADMIN = "http://127.0.0.1:18931"
PROBE = "http://127.0.0.1:18930"


def until_it_answers(url):
    """Waits until an address answers, for at most ten seconds."""
    for _ in range(100):
        try:
            return urllib.request.urlopen(url, timeout=1)
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"{url} does not answer")


@contextlib.contextmanager
def service(command=(BINARY,), /, **variables):
    """A running service on fixed ports, started by a command."""
    environment = {"PATH": os.environ["PATH"], "PORT": "18930", "ADMIN_ADDRESS": "127.0.0.1:18931", "SEED": "42"}
    process = subprocess.Popen(command, env=environment | variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_it_answers(ADMIN + "/healthz")
        yield
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0, process.returncode


def metric(start, *labels):
    """The sum of the series of one name with these labels."""
    text = urllib.request.urlopen(ADMIN + "/metrics", timeout=5).read().decode()
    lines = [line for line in text.splitlines() if line.startswith(start)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in labels))
