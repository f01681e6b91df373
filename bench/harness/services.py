"""The services to measure and to compare with."""

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from . import machine, server

CONF = machine.ROOT / "bench" / "baselines" / "conf"

# Limits that no client reaches.
ROOMY = {"MAX_CONNECTIONS": "19000", "IDLE_TIMEOUT": "1h", "HEAD_TIMEOUT": "1h", "LOG_LEVEL": "warn"}

# Each request is checked against all of them, and a random 10 % fail.
TEN_RULES = "{faults: [%s]}" % ", ".join(
    f"{{name: r{number}, target: liveness, mode: status, rate: 1%}}" for number in range(1, 11))


@dataclass
class Launch:
    """How to start a service on a port."""

    command: list
    environment: dict = field(default_factory=dict)


@dataclass
class Service:
    """A service by name; `launch(port, delay_ms)` says how to start it."""

    name: str
    binary: Path
    launch: object
    # Whether it is measured with delays, under valgrind, with 10,000 connections, and in all cells of the table of delays.
    delays: bool = True
    valgrind: bool = True
    crowd: bool = True
    all_delays: bool = False

    @contextlib.contextmanager
    def running(self, delay_ms=0):
        port = server.free_port()
        launch = self.launch(port, delay_ms)
        with server.running(launch.command, port, launch.environment) as running:
            yield running


@dataclass
class External:
    """A service that is already running: `--against NAME=URL`, or NAME:50ms=URL if it delays by that."""

    name: str
    host: str
    port: int
    path: str
    delay_ms: float
    binary = None
    valgrind = False
    crowd = False
    all_delays = False

    @property
    def delays(self):
        return self.delay_ms > 0

    @contextlib.contextmanager
    def running(self, delay_ms=0):
        pid = server.listening_pid(self.port) if self.host.startswith("127.") else None
        yield server.Server(pid, self.port, self.path, host=self.host)


def external(text):
    """Reads NAME=URL or NAME:50ms=URL."""
    name, equals, url = text.partition("=")
    match = re.fullmatch(r"([^:]+)(?::(\d+(?:\.\d+)?)ms)?", name)
    parts = urlsplit(url)
    if not equals or not match or parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{text!r}: NAME=http://HOST:PORT/PATH is expected, or NAME:50ms=… if it delays by that")
    delay = float(match[2] or 0)
    # The load client needs an address.
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    return External(match[1], host, parts.port or 80, parts.path or "/", int(delay) if delay.is_integer() else delay)


def rendered(name, port, **more):
    """A configuration file with its placeholders replaced."""
    directory = machine.WORK / f"{name.split('.')[0]}-{port}"
    directory.mkdir(parents=True, exist_ok=True)
    text = (CONF / name).read_text()
    for key, value in {"PORT": port, "DIR": directory, **more}.items():
        text = text.replace(f"@{key}@", str(value))
    file = directory / name
    file.write_text(text)
    return file


def probesim(program, **environment):
    def launch(port, delay_ms):
        own = {**ROOMY, "PORT": str(port), "BIND_ADDRESS": "127.0.0.1", "ADMIN_ADDRESS": "127.0.0.1:0", "SEED": "42"}
        if delay_ms:
            own["LATENCY"] = f"{delay_ms}ms"
        return Launch([program], {**own, **environment})
    return launch


def baseline(name):
    def launch(port, delay_ms):
        return Launch([machine.BASELINES / name, port, *([delay_ms] if delay_ms else [])])
    return launch


def go(port, delay_ms):
    # The same variables as in the original's manifest.
    own = {"PORT": str(port), "FAILURE_RATE": "0", "LATENCY": str(delay_ms), "LIVENESS_FAIL_AFTER_TIME": "0"}
    return Launch([machine.GO_HANDLER, port], own)


def nginx(port, delay_ms):
    module, answer = "", 'return 200 "ok";'
    if delay_ms:
        module, answer = f"load_module {machine.ECHO_MODULE};", f"echo_sleep {delay_ms / 1000}; echo ok;"
    file = rendered("nginx.conf", port, MODULES=module, ANSWER=answer)
    return Launch([machine.tool("nginx"), "-c", file, "-p", file.parent, "-e", "stderr"])


def haproxy(port, delay_ms):
    lua, wait = "", ""
    if delay_ms:
        # Its inspect-delay does not delay a request that has arrived in full.
        lua, wait = f"lua-load {rendered('haproxy.lua', port, DELAY=delay_ms)}", "http-request lua.wait"
    return Launch([machine.tool("haproxy"), "-db", "-f", rendered("haproxy.cfg", port, LUA=lua, WAIT=wait)])


def envoy(port, delay_ms):
    fault = f"""\
                  - name: envoy.filters.http.fault
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
                      delay: {{ fixed_delay: {delay_ms / 1000}s, percentage: {{ numerator: 100 }} }}"""
    file = rendered("envoy.yaml", port, FAULT=fault if delay_ms else "")
    return Launch([machine.envoy(), "-c", file, "--concurrency", 1, "--disable-hot-restart", "-l", "off"])


OURS = "kube-probesim"
OURS_TEN = "kube-probesim, ten rules"
EPOLL, AXUM, GO = "bare epoll", "bare axum", "Go handler"


def build(name, program):
    """A build of kube-probesim, without a rule and with ten."""
    return [
        Service(name, program, probesim(program), all_delays=True),
        Service(f"{name}, ten rules", program, probesim(program, FAULTS=TEN_RULES), delays=False, crowd=False),
    ]


def other_build(text):
    """Reads NAME=BINARY."""
    name, equals, path = text.partition("=")
    program = Path(path).resolve()
    if not name or not equals or not program.is_file():
        raise ValueError(f"{text!r}: NAME=BINARY is expected, of a file that is there")
    return build(name, program)


def available(more=()):
    """All services that can be started here, ours first, then more."""
    tool = machine.tool
    services = [
        *build(OURS, machine.PROGRAM),
        Service(EPOLL, machine.BASELINES / "epoll-server", baseline("epoll-server"), all_delays=True),
        Service(AXUM, machine.BASELINES / "axum-server", baseline("axum-server"), all_delays=True),
    ]
    if machine.GO_HANDLER.exists():
        services.append(Service(GO, machine.GO_HANDLER, go, all_delays=True))
    if tool("nginx"):
        services.append(Service("nginx", Path(tool("nginx")), nginx, delays=machine.ECHO_MODULE.exists()))
    if tool("haproxy"):
        services.append(Service("HAProxy", Path(tool("haproxy")), haproxy, crowd=False))
    if machine.envoy():
        services.append(Service("Envoy", Path(machine.envoy()), envoy, valgrind=False))
    return [*services, *more]
