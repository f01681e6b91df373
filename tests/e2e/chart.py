"""Renders the Helm chart with Helm's own engine, and checks what comes out: schemas of the supported Kubernetes versions,
the Pod Security Standard `restricted`, equality with manifests/base, and values that must be refused.

    tests/e2e/chart.py             checks
    tests/e2e/chart.py --update    first writes the table of the chart's README, and the files that it shares
"""

import copy
import json
import pathlib
import subprocess
import sys

import helm_python as helm
import kubernetes_validate
import yaml

from schemas import NOT_COVERED, VERSIONS, all_versions, errors, kustomize, major_minor

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "manifests/helm/kube-probesim"
MONITORING = ROOT / "manifests/components/monitoring"
BEGIN, END = "<!-- values -->\n", "<!-- end of values -->"

# Files of which the chart needs its own copy: Helm reads nothing outside of it.
SHARED = ("rules.yaml", "dashboard.json")

# What the values add to each object of the base.
INSTANCE = ("app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart")

NOT_COVERED_HERE = {*NOT_COVERED, ("monitoring.coreos.com/v1", "ServiceMonitor")}

EVERYTHING = {
    "image": {"digest": "sha256:" + "0" * 64, "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "variables": {"FAILURE_RATE": 20, "LOG_FORMAT": "json", "STRICT": True},
    "extraEnv": [{"name": "ADMIN_TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "token"}}}],
    "plan": {"faults": [{"name": "flaps", "target": "readiness", "mode": "status", "status": 503}]},
    "annotationControl": True,
    "state": True,
    "ports": {"http": 9080, "admin": 9081},
    "service": {"type": "NodePort", "annotations": {"a": "b"}},
    "rbac": {"create": True, "subjects": [{"kind": "Group", "name": "drills", "apiGroup": "rbac.authorization.k8s.io"}]},
    "podDisruptionBudget": {"maxUnavailable": "50%"},
    "monitoring": {kind: {"enabled": True} for kind in ("podMonitor", "serviceMonitor", "rules", "dashboard")},
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "platform"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "drill", "operator": "Exists"}],
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"},
    ],
    "priorityClassName": "low",
    "terminationGracePeriodSeconds": 60,
}

# Wrong values, and a word that the error must contain.
REFUSED = [
    ({"variables": {"FAILURE_RAT": 20}}, "FAILURE_RAT"),
    ({"variables": {"PORT": 9000}}, "PORT"),
    ({"replicas": -1}, "replicas"),
    ({"replica": 3}, "replica"),
    ({"image": {"digest": "latest"}}, "digest"),
    ({"ports": {"http": 80}}, "http"),
    ({"rbac": {"create": True}}, "subjects"),
    ({"monitoring": {"podmonitor": {"enabled": True}}}, "podmonitor"),
]


class Strict(yaml.SafeLoader):
    """Refuses duplicate keys, as the API server does."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice: {sorted(key for key in keys if keys.count(key) > 1)}"
        return super().construct_mapping(node, deep)


def render(values, name="probesim", namespace="drills"):
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        rendered = chart.render(values, name=name, namespace=namespace)
    texts = [text for path, text in rendered.items() if path.endswith(".yaml")]
    return [document for text in texts for document in yaml.load_all(text, Loader=Strict) if document]


def rows(schema, path=""):
    """The lines of the README's table."""
    for name, value in schema["properties"].items():
        here = f"{path}.{name}" if path else name
        if "properties" in value:
            yield from rows(value, here)
        elif name != "global":
            yield here, value["description"]


def defaults(values, path=""):
    for name, value in values.items():
        here = f"{path}.{name}" if path else name
        yield here, value
        if isinstance(value, dict):
            yield from defaults(value, here)


def table():
    schema = json.loads((CHART / "values.schema.json").read_text())
    default = dict(defaults(yaml.safe_load((CHART / "values.yaml").read_text())))
    lines = ["| value | default | meaning |\n", "|---|---|---|\n"]
    for name, description in rows(schema):
        shown = json.dumps(default[name], separators=(", ", ": ")) if name in default else "unset"
        shown = "see `values.yaml`" if len(shown) > 40 else f"`{shown}`"
        lines.append(f"| `{name}` | {shown} | {description} |\n")
    return "".join(lines)


def parts(readme):
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + table() + END + after


def update():
    for name in SHARED:
        (CHART / "files" / name).write_bytes((MONITORING / name).read_bytes())
    readme = CHART / "README.md"
    readme.write_text(parts(readme.read_text()))


def without_instance(value):
    """An object without the names of its release, in a canonical order."""
    if isinstance(value, dict):
        return {key: without_instance(inner) for key, inner in value.items() if key not in INSTANCE}
    if isinstance(value, list):
        inner = [without_instance(entry) for entry in value]
        named = all(isinstance(entry, dict) and "name" in entry for entry in inner)
        return sorted(inner, key=lambda entry: entry["name"]) if named else inner
    return value


def differences():
    """Differences between the base and the chart rendered with the base's values."""
    base = {(object_["kind"]): object_ for object_ in kustomize(ROOT / "manifests/base")}
    env = base["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]
    values = {"variables": {entry["name"]: entry["value"] for entry in env if "value" in entry}}
    chart = [object_ for object_ in render(values, "kube-probesim") if "helm.sh/hook" not in object_["metadata"].get("annotations", {})]
    if sorted(base) != sorted(object_["kind"] for object_ in chart):
        yield f"kinds: {sorted(object_['kind'] for object_ in chart)} instead of {sorted(base)}"
        return
    for object_ in chart:
        one, other = without_instance(object_), without_instance(base[object_["kind"]])
        if one != other:
            yield f"{object_['kind']} is\n{yaml.safe_dump(one)}instead of\n{yaml.safe_dump(other)}"


def main():
    if sys.argv[1:] == ["--update"]:
        update()
    known = {major_minor(version) for version in all_versions()}
    versions = sorted(known, key=lambda version: [int(part) for part in version.split(".")])[-VERSIONS:]
    failures = []
    for name in SHARED:
        if (CHART / "files" / name).read_bytes() != (MONITORING / name).read_bytes():
            failures.append(f"files/{name} is not that of the component; run tests/e2e/chart.py --update")
    readme = (CHART / "README.md").read_text()
    if parts(readme) != readme:
        failures.append("the table of README.md is not that of the schema; run tests/e2e/chart.py --update")
    lint = helm.lint(CHART)
    failures.extend(str(message) for message in lint.get("messages", []) if message.get("severity", 0) >= 2)
    failures.extend(f"beside the base: {difference}" for difference in differences())
    seen = 0
    for name, values in [("default", {}), ("everything", EVERYTHING)]:
        objects = render(values)
        seen += len(objects)
        kinds = {object_["kind"] for object_ in objects}
        if name == "everything" and not {"PodMonitor", "ServiceMonitor", "PrometheusRule", "Role"} <= kinds:
            failures.append(f"everything: {sorted(kinds)}")
        names = [(object_["kind"], object_["metadata"]["name"]) for object_ in objects]
        failures.extend(f"{name}: {twice} is there twice" for twice in {n for n in names if names.count(n) > 1})
        for object_ in objects:
            if (object_["apiVersion"], object_["kind"]) in NOT_COVERED_HERE:
                continue
            where = f"{name}: {object_['kind']} {object_['metadata']['name']}"
            failures.extend(f"{where}: {error}" for error in errors(object_, versions))
    no_fault = render({})
    container = next(o for o in no_fault if o["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"][0]
    if any("value" in entry for entry in container["env"]):
        failures.append(f"a variable is set by default: {container['env']}")
    for values, word in REFUSED:
        try:
            render(values)
            failures.append(f"{values} is taken")
        except helm.HelmError as error:
            if word not in str(error):
                failures.append(f"{values}: the error does not name {word}: {error}")
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"Kubernetes {', '.join(versions)}: {seen} objects of the chart, {len(REFUSED)} values refused")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
