"""The examples with Testcontainers in docs/clients.md, against podman's Docker API.

Usage: testcontainers.py IMAGE

The example for Go is not run: its module is not on PyPI or npm.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/e2e/clients"
PATH = os.environ["PATH"] + ":/usr/sbin"

# As the other scripts run podman: runc, and limits that an unprivileged container may have.
CONFIG = f"""[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
[engine.runtimes]
runc = ["{shutil.which("runc", path=PATH)}"]
"""

PYTHON = """
import probesim
import urllib.error
import urllib.request


def assert_not_ready(url):
    try:
        urllib.request.urlopen(url + "/readyz")
    except urllib.error.HTTPError as error:
        assert error.code == 503, error.code
    else:
        raise AssertionError("it is ready")


"""

TYPESCRIPT_BEFORE = """
import assert from "node:assert/strict";
import { GenericContainer, Wait } from "testcontainers";
import { Service } from "PROBESIM";
"""

TYPESCRIPT_AFTER = """
const fault = await service.withFault({ target: "readiness", mode: "status", status: 503 }, async (fault) => {
  assert.equal((await fetch(service.url + "/readyz")).status, 503);
  return fault;
});
await fault.assertInjected();
await container.stop();
"""


def example(language, image):
    """The example of a language, for an image."""
    section = (ROOT / "docs/clients.md").read_text().split("## Testcontainers\n")[1]
    [code] = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert code.count('"kube-probesim"') == 1, code
    return code.replace('"kube-probesim"', f'"{image}"')


def python_works(image, folder, env):
    (folder / "example.py").write_text(PYTHON + example("python", image))
    env = {**env, "PYTHONPATH": str(ROOT / "clients/python")}
    subprocess.run([sys.executable, "-B", folder / "example.py"], env=env, check=True)


def typescript_works(image, folder, env):
    helper = os.path.relpath(ROOT / "clients/typescript/probesim.js", HERE)
    source = HERE / "testcontainers.example.mts"
    code = TYPESCRIPT_BEFORE.replace("PROBESIM", helper) + example("ts", image) + TYPESCRIPT_AFTER
    try:
        source.write_text(code)
        tsc = HERE / "node_modules/typescript/bin/tsc"
        options = ["--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext", "--types", "node"]
        subprocess.run(["node", tsc, *options, "--typeRoots", HERE / "node_modules/@types", "--rootDir", ROOT, "--outDir", folder, source], check=True)
    finally:
        source.unlink(missing_ok=True)
    # Modules are looked for in the folders above.
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    subprocess.run(["node", folder / HERE.relative_to(ROOT) / "testcontainers.example.mjs"], env=env, check=True)


def main():
    image = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "containers.conf").write_text(CONFIG)
        socket = folder / "podman.sock"
        env = {**os.environ, "PATH": PATH, "CONTAINERS_CONF": str(folder / "containers.conf")}
        service = subprocess.Popen(["podman", "system", "service", "--time", "0", f"unix://{socket}"], env=env)
        try:
            for _ in range(100):
                if socket.exists():
                    break
                time.sleep(0.1)
            env |= {
                "DOCKER_HOST": f"unix://{socket}",
                # Its container, which removes others, would have to be pulled.
                "TESTCONTAINERS_RYUK_DISABLED": "true",
                # Even if the tests themselves run in a container.
                "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
                "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
            }
            for works in python_works, typescript_works:
                works(image, folder, env)
                print(f"{works.__name__}: yes", flush=True)
        finally:
            service.terminate()
            service.wait()


main()
