"""What the binary consists of, by crate."""

import json
import os
import subprocess
import sys

from .. import machine
from ..stats import number
from ..table import markdown

TITLE = "The binary by crate"
MOST = 25


def run(context):
    if not machine.tool("cargo-bloat"):
        machine.say("install cargo-bloat")
        subprocess.run(["cargo", "install", "--quiet", "--locked", "cargo-bloat"], check=False, stdout=sys.stderr)
    if not machine.tool("cargo-bloat"):
        return {}
    machine.say("size by crate")
    command = ["cargo", "bloat", "--quiet", "--locked", "--release", "--target", machine.TARGET,
               "--bin", "kube-probesim", "--crates", "-n", "0", "--message-format", "json"]
    # Crates are told apart by symbol names, so it is not the stripped binary, nor in its directory, and equal functions of
    # two crates are not made one. It reads one section of code, so there must be no other.
    own = {"CARGO_PROFILE_RELEASE_STRIP": "none", "CARGO_TARGET_DIR": "target/bloat",
           "RUSTFLAGS": "-C linker=rust-lld -C llvm-args=-inline-threshold=50"}
    machine.note(command, own)
    done = subprocess.run(command, cwd=machine.ROOT, env={**os.environ, **own}, stdout=subprocess.PIPE, text=True,
                          check=True)
    found = json.loads(done.stdout)
    return {"text": found["text-section-size"],
            "crates": {crate["name"]: crate["size"] for crate in found["crates"]}}


def report(data):
    sizes = sorted(data["crates"].items(), key=lambda crate: -crate[1])
    rows = [[name, number(size / 1024), f"{size / data['text']:.1%}"] for name, size in sizes[:MOST]]
    rest = sum(size for _, size in sizes[MOST:])
    rows.append(["the rest", number(rest / 1024), f"{rest / data['text']:.1%}"])
    return markdown(["crate", "code, KiB", "of all code"], rows) + """
By cargo-bloat, which goes by the names of functions: what is inlined counts where it went, and data are not in it.
Unlike the binary that ships, the one it looks at has equal functions more than once.
"""
