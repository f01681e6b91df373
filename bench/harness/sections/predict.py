"""Prediction: probe attempts per second, and memory, by number of Pods."""

import os
import re
import subprocess
import time
from pathlib import Path

from .. import machine
from ..stats import number, spread, summary
from ..table import markdown

TITLE = "Prediction"
PODS = (1, 10, 100, 1_000, 10_000)
# Virtual seconds times Pods per run, so that all runs take about as long.
POD_SECONDS = 1_000_000
LEAST_SECONDS, MOST_SECONDS = 120, 1_000_000

# Every probe runs every second, a random 20 % fail, and no threshold is reached, so the number of attempts is known.
PROBES = 2
MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: bench}
spec:
  replicas: 1
  selector: {matchLabels: {app: bench}}
  template:
    metadata: {labels: {app: bench}}
    spec:
      containers:
        - name: probesim
          image: kube-probesim:0.1.0
          env: [{name: FAILURE_RATE, value: "20"}, {name: LATENCY, value: "5"}]
          livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 1000}
          readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1, failureThreshold: 1000}
"""


def run(context):
    file = machine.WORK / "deployment.yaml"
    file.write_text(MANIFEST)
    data = {str(pods): [] for pods in PODS}
    for turn in range(context.rounds):
        machine.say(f"predict, round {turn + 1} of {context.rounds}")
        for pods in PODS:
            data[str(pods)].append(attempts(file, pods, context.pace))
    return {pods: {figure: summary([run[figure] for run in runs]) for figure in runs[0]}
            for pods, runs in data.items()}


def attempts(file, pods, pace):
    """Attempts per second of CPU time, and the most resident memory."""
    seconds = round(min(MOST_SECONDS, max(LEAST_SECONDS, POD_SECONDS / pods)) * pace)
    found = measure(file, pods, seconds)
    return {"attempts_per_second": pods * seconds * PROBES / found["cpu"], "resident": found["resident"],
            "seconds": found["seconds"]}


def measure(file, pods, seconds):
    """CPU time in seconds, most resident memory in bytes, and time in seconds of one prediction."""
    command = ["taskset", "-c", str(machine.SERVER_CORE), machine.PROGRAM, "predict", file, "--pods", pods,
               "--for", f"{seconds}s", "--output", "json"]
    machine.note(command)
    began = time.monotonic()
    child = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    resident, done = 0, 0
    while not done:
        # Not ru_maxrss: it includes what this interpreter had resident when it started the child.
        resident = max(resident, most_resident(child.pid))
        time.sleep(0.002)
        done, status, usage = os.wait4(child.pid, os.WNOHANG)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"predict ends with {child.returncode}")
    return {"cpu": usage.ru_utime + usage.ru_stime, "resident": resident, "seconds": time.monotonic() - began}


def most_resident(pid):
    """The largest resident size so far in bytes; 0 after the process has ended, or before it runs the program."""
    if Path(f"/proc/{pid}/comm").read_text().strip() != machine.PROGRAM.name[:15]:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def report(data):
    rows = [[f"{int(pods):,}", spread(figures["attempts_per_second"], 1e-6), spread(figures["resident"], 1 / (1 << 20)),
             number(figures["resident"]["median"] / int(pods) / 1024)] for pods, figures in data.items()]
    head = ["Pods", "million attempts per second of one core", "most resident, MiB", "the same per Pod, KiB"]
    return markdown(head, rows)
