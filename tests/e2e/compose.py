"""The drill of manifests/compose.yaml: its files, and its service and Prometheus as processes of this machine.

Usage: compose.py BINARY
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import yaml

BINARY = sys.argv[1]
MANIFESTS = pathlib.Path(__file__).resolve().parents[2] / "manifests"
# Of its own, since it runs beside other steps.
ADMIN, PROBE, SERVER = 18911, 18910, 18919
SERVICES = yaml.safe_load((MANIFESTS / "compose.yaml").read_text())["services"]


def mounts(service):
    """The files of a service, by their path in the container."""
    pairs = (volume.split(":") for volume in SERVICES[service]["volumes"])
    return {inside: MANIFESTS / outside for outside, inside, _ in pairs}


def eventually(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.5)


def query(expression):
    url = f"http://127.0.0.1:{SERVER}/api/v1/query?query={urllib.parse.quote(expression)}"
    try:
        return json.load(urllib.request.urlopen(url, timeout=2))["data"]["result"]
    except OSError:
        return []


def grafana_finds_prometheus_and_the_dashboard():
    files = mounts("grafana")
    [source] = yaml.safe_load(files["/etc/grafana/provisioning/datasources/prometheus.yaml"].read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090" and source["isDefault"] and "prometheus" in SERVICES
    [provider] = yaml.safe_load(files["/etc/grafana/provisioning/dashboards/probesim.yaml"].read_text())["providers"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.startswith(provider["options"]["path"]) and json.loads(files[home].read_text())["panels"]


def prometheus_sees_the_drill():
    files = mounts("prometheus")
    config = yaml.safe_load(files["/etc/prometheus/prometheus.yml"].read_text())
    assert config["scrape_configs"][0]["static_configs"][0]["targets"] == ["probesim:8081"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "rules.yaml").write_text(files["/etc/prometheus/rules.yaml"].read_text())
        text = files["/etc/prometheus/prometheus.yml"].read_text().replace("probesim:8081", f"127.0.0.1:{ADMIN}")
        (folder / "prometheus.yml").write_text(text.replace("interval: 5s", "interval: 1s"))
        subprocess.run(["promtool", "check", "config", folder / "prometheus.yml"], check=True, stdout=subprocess.DEVNULL)
        variables = {name: str(value) for name, value in SERVICES["probesim"]["environment"].items()}
        variables |= {"PORT": str(PROBE), "ADMIN_ADDRESS": f"127.0.0.1:{ADMIN}", "PATH": os.environ["PATH"]}
        service = subprocess.Popen([BINARY], env=variables, stdout=subprocess.DEVNULL)
        server = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{SERVER}"],
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually("the service is scraped", lambda: query('up{namespace="compose",pod="probesim"} == 1'))
            check = SERVICES["probesim"]["healthcheck"]["test"]
            assert check[:2] == ["CMD", "/kube-probesim"], check
            results = set()

            def fails_and_succeeds():
                results.add(subprocess.run([BINARY, *check[2:]], env=variables, stdout=subprocess.DEVNULL).returncode)
                return results == {0, 1}

            eventually("some probes fail and some do not", fails_and_succeeds)
            eventually("injections are seen", lambda: query('probesim_faults_injected_total{target="readiness"} > 0'))
            eventually("the rules are evaluated", lambda: query("namespace_pod_target_client:probesim_requests:rate5m"))
        finally:
            for process in (service, server):
                process.terminate()
                process.wait(timeout=30)


for test in (grafana_finds_prometheus_and_the_dashboard, prometheus_sees_the_drill):
    test()
    print(f"{test.__name__}: ok")
