"""Checks the output of .ci/release: archives that run, checksums and a krew manifest that agree with them, and notes.

Usage: release.py BINARY
"""

import hashlib
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

import helm_python as helm
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(sys.argv[1]).resolve()
VERSION = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]
HERE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def release(folder, version=VERSION):
    """Runs the script on a copy, so that it does not write into the checkout."""
    for name in "manifests", "clients", ".ci":
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
    for name in "LICENSE", "CHANGELOG.md":
        shutil.copy(ROOT / name, folder)
    (folder / "dist").mkdir(exist_ok=True)
    for arch in "amd64", "arm64":
        # Binaries for other architectures are only packed.
        if arch == HERE:
            shutil.copy(BINARY, folder / f"dist/kube-probesim-{arch}")
        else:
            (folder / f"dist/kube-probesim-{arch}").write_bytes(b"of another machine")
    (folder / "dist/kube-probesim.cdx.json").write_text("{}")
    command = [folder / ".ci/release", version, "owner/kube-probesim"]
    return subprocess.run(command, capture_output=True, text=True), folder / "dist/release"


def sums(out):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir() if path.name != "SHA256SUMS"}


def main():
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        done, out = release(pathlib.Path(one))
        assert done.returncode == 0, done.stderr
        listed = dict(reversed(line.split("  ")) for line in (out / "SHA256SUMS").read_text().splitlines())
        assert listed == sums(out), "checksums"
        expected = {f"kube-probesim_{VERSION}_linux_{arch}.tar.gz" for arch in ("amd64", "arm64")}
        expected |= {f"kube-probesim-{VERSION}.tgz", "probesim.py", "probesim.go", "probesim.ts", "probesim.yaml", "kube-probesim.cdx.json"}
        assert set(listed) == expected, listed

        done, again = release(pathlib.Path(two))
        assert sums(again) == sums(out), "a second run made other bytes"

        # As krew installs it: the archive is unpacked, and the files are put in place.
        plugin = yaml.safe_load((out / "probesim.yaml").read_text())
        assert plugin["spec"]["version"] == f"v{VERSION}" and plugin["metadata"]["name"] == "probesim"
        assert len(plugin["spec"]["shortDescription"]) <= 50, "krew's index wants it short"
        for place in plugin["spec"]["platforms"]:
            archive = place["uri"].rsplit("/", 1)[1]
            assert place["sha256"] == listed[archive], archive
            with tarfile.open(out / archive) as content:
                names = set(content.getnames())
                assert {file["from"] for file in place["files"]} <= names, names
                if place["selector"]["matchLabels"]["arch"] == HERE:
                    content.extractall(pathlib.Path(one) / "unpacked")
        for name in "kube-probesim", "kubectl-probesim":
            run = subprocess.run([pathlib.Path(one) / "unpacked" / name, "--help"], capture_output=True, text=True, check=True)
            assert name.replace("-", " ", 1).split()[0] in run.stdout, run.stdout[:200]
        complete = [pathlib.Path(one) / "unpacked/kubectl_complete-probesim", "sid"]
        assert subprocess.run(complete, capture_output=True, text=True, check=True).stdout == "sidecar\n:4\n"

        with helm.Chart.load(out / f"kube-probesim-{VERSION}.tgz") as chart:
            assert any(path.endswith("deployment.yaml") for path in chart.render({}, name="probesim", namespace="drills"))
        assert (pathlib.Path(one) / "dist/notes.md").read_text().strip(), "notes"

        done, _ = release(pathlib.Path(two), "9.9.9")
        assert done.returncode == 1 and "no section" in done.stderr, done
    print("a release has all its parts, and their checksums agree")


main()
