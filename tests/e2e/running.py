"""A running service for scripts that try it, and what it says of itself. The script's first argument is the binary."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request

BINARY = sys.argv[1]
ADMIN = "http://127.0.0.1:18931"
PROBE = "http://127.0.0.1:18930"


@contextlib.contextmanager
def service(**variables):
    """A running service on fixed ports."""
    environment = {"PATH": os.environ["PATH"], "PORT": "18930", "ADMIN_ADDRESS": "127.0.0.1:18931", "SEED": "42"}
    process = subprocess.Popen([BINARY], env=environment | variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(ADMIN + "/healthz", timeout=1)
                break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0, process.returncode


def metric(start, *labels):
    """The sum of the series of one name with these labels."""
    text = urllib.request.urlopen(ADMIN + "/metrics", timeout=5).read().decode()
    lines = [line for line in text.splitlines() if line.startswith(start)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in labels))
