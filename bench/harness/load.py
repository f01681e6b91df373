"""The load client, on its own core."""

import json
import os
import subprocess

from . import machine


def client(*arguments, environment=None):
    """Runs the load client and returns its measurements."""
    command = ["taskset", "--cpu-list", str(machine.CLIENT_CORE), str(machine.LOAD), *map(str, arguments)]
    machine.note(command)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          env={**os.environ, **(environment or {})})
    if done.returncode:
        raise RuntimeError(f"load {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return json.loads(done.stdout)
