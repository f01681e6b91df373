"""Validates every manifest against the schemas of the supported Kubernetes versions, against the Pod Security Standard
`restricted`, and against rules of the API server that no schema has, such as one handler per probe.

Renders every folder under manifests/ that has a kustomization.yaml. A component for sidecars is applied to workloads.yaml,
which has each kind of workload and of probe, after each sidecar; another component is applied to manifests/base, too.

    tests/e2e/schemas.py [FOLDER...]
"""

import collections
import copy
import pathlib
import shutil
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml
from kubernetes_validate.utils import all_versions, major_minor

ROOT = pathlib.Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
BASE = MANIFESTS / "base"
WORKLOADS = ROOT / "tests/e2e/workloads.yaml"

# Components that add the sidecar, and those that need it.
SIDECARS = ("sidecar", "sidecar-plain", "ambassador")
ONLY_WITH_SIDECAR = ("sidecar-probes", "sidecar-networkpolicy")

# The component that puts the proxy in front of an application of one of these kinds, with all its parts.
PROXY = MANIFESTS / "components/sidecar-proxy"
KINDS = ("Deployment", "StatefulSet", "DaemonSet")
PROBES = {
    "livenessProbe": {"httpGet": {"path": "/live", "port": 3000}},
    "readinessProbe": {"grpc": {"port": 3000}},
    "startupProbe": {"httpGet": {"path": "/", "port": 3000}},
}

# Kubernetes supports its newest three versions, and clusters are often one behind.
VERSIONS = 4

# Custom resources, whose schemas are not part of Kubernetes.
NOT_COVERED = {("monitoring.coreos.com/v1", "PodMonitor"), ("monitoring.coreos.com/v1", "PrometheusRule")}

# Limits of the profile `restricted`, https://kubernetes.io/docs/concepts/security/pod-security-standards/.
VOLUMES = {
    "name", "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}
SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem",
}
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}


def kustomize(folder):
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"does not render: {done.stderr.strip()}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def render(folder):
    """The objects of a kustomization, or those of each composition with a component: pairs of a name and the objects."""
    kind = yaml.safe_load((folder / "kustomization.yaml").read_text()).get("kind", "Kustomization")
    if kind != "Component":
        # The settings of a proxy make transformers, which the folder above renders.
        objects = kustomize(folder)
        return [] if all(document["apiVersion"] == "builtin" for document in objects) else [("", objects)]
    name = folder.name
    if PROXY in folder.parents:
        return [(f"upon {kind}", proxied(kind, folder)) for kind in KINDS] if name in ("native", "plain") else []
    if name in SIDECARS:
        return [("upon workloads", compose(WORKLOADS, [name]))]
    upon_sidecars = [(f"upon {sidecar}", compose(WORKLOADS, [sidecar, name])) for sidecar in SIDECARS]
    return upon_sidecars + ([] if name in ONLY_WITH_SIDECAR else [("upon the base", compose(BASE, [name]))])


def compose(resource, components):
    """The objects that components make of a folder or file."""
    # Kustomize takes relative folders only.
    place = ROOT / "target"
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as inside:
        inside = pathlib.Path(inside)
        if resource.is_dir():
            listed = str(pathlib.Path("../..") / resource.relative_to(ROOT))
        else:
            listed = shutil.copy(resource, inside) and resource.name
        folders = [str(pathlib.Path("../../manifests/components") / component) for component in components]
        text = yaml.safe_dump({"resources": [listed], "components": folders})
        (inside / "kustomization.yaml").write_text(text)
        return kustomize(inside)


def proxied(kind, folder):
    """An application with the proxy in front of it."""
    labels = {"app": "web"}
    container = {
        "name": "web", "image": "web", **PROBES,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}, "containers": [container]}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    if kind == "StatefulSet":
        spec["serviceName"] = "web"
    workload = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec}
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 3000}]},
    }
    settings = {
        "name": "probesim-proxy", "options": {"disableNameSuffixHash": True},
        "literals": ["workload=web", "service=web", "servicePort=80", "upstream=http://127.0.0.1:3000"],
    }
    up = pathlib.Path("../../..") / PROXY.relative_to(ROOT)
    parts = ["probes/liveness-http", "probes/readiness-grpc", "probes/startup-http", folder.name]
    (ROOT / "target").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as inside:
        inside = pathlib.Path(inside)
        (inside / "proxy").mkdir()
        (inside / "application.yaml").write_text(yaml.safe_dump_all([workload, service]))
        wiring = {"configMapGenerator": [settings], "components": [str(up / part) for part in parts]}
        (inside / "proxy/kustomization.yaml").write_text(yaml.safe_dump(wiring))
        policy = str(pathlib.Path("../..") / PROXY.relative_to(ROOT) / "networkpolicy")
        listed = {"resources": ["application.yaml"], "transformers": ["proxy"], "components": [policy]}
        (inside / "kustomization.yaml").write_text(yaml.safe_dump(listed))
        return kustomize(inside)


def pod(document):
    """The metadata and spec of an object's Pods, if it has any."""
    kind, spec = document["kind"], document.get("spec", {})
    if kind == "Pod":
        return document["metadata"], spec
    if kind == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    template = spec.get("template") if kind != "PodTemplate" else document["template"]
    return (template.get("metadata", {}), template["spec"]) if isinstance(template, dict) and "spec" in template else None


def restricted(metadata, spec):
    """Violations of the profile `restricted`, which includes `baseline`."""
    ours = spec.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{field} is set"
    if ours.get("windowsOptions", {}).get("hostProcess"):
        yield "it is a host process"
    for volume in spec.get("volumes", []):
        for kind in volume.keys() - VOLUMES:
            yield f"volume {volume['name']}: {kind} is not allowed"
    for sysctl in ours.get("sysctls", []):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']} is not allowed"
    for name, value in metadata.get("annotations", {}).items():
        if name.startswith("container.apparmor.security.beta.kubernetes.io/") and value == "unconfined":
            yield "AppArmor is off"
    containers = [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]
    for container in containers:
        name, own = container["name"], container.get("securityContext", {})
        of_both = {**ours, **own}
        capabilities = own.get("capabilities", {})
        if own.get("privileged"):
            yield f"{name}: it is privileged"
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: allowPrivilegeEscalation is not false"
        if of_both.get("runAsNonRoot") is not True:
            yield f"{name}: runAsNonRoot is not true"
        if of_both.get("runAsUser") == 0:
            yield f"{name}: runAsUser is 0"
        if "ALL" not in capabilities.get("drop", []):
            yield f"{name}: it does not drop ALL capabilities"
        for capability in set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield f"{name}: it adds the capability {capability}"
        if of_both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{name}: seccompProfile is neither RuntimeDefault nor Localhost"
        if of_both.get("appArmorProfile", {}).get("type") == "Unconfined":
            yield f"{name}: AppArmor is off"
        if of_both.get("procMount", "Default") != "Default":
            yield f"{name}: procMount is not Default"
        selinux = of_both.get("seLinuxOptions", {})
        if selinux.get("type", "") not in SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
            yield f"{name}: its SELinux options are not allowed"
        for port in container.get("ports", []):
            if port.get("hostPort"):
                yield f"{name}: port {port['containerPort']} is a port of the host"
        handlers = [container.get(f"{kind}Probe", {}) for kind in ("liveness", "readiness", "startup")]
        handlers += container.get("lifecycle", {}).values()
        for handler in handlers:
            for kind in ("httpGet", "tcpSocket"):
                if isinstance(handler, dict) and handler.get(kind, {}).get("host"):
                    yield f"{name}: a probe or hook names a host"


HANDLERS = {"exec", "grpc", "httpGet", "tcpSocket"}


def twice(names):
    """Duplicate names."""
    return sorted(name for name, count in collections.Counter(names).items() if count > 1)


def refused(spec):
    """Errors that the API server reports although the schema allows the object."""
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    volumes = [volume["name"] for volume in spec.get("volumes", [])]
    for name in twice(container["name"] for container in containers):
        yield f"two containers are called {name}"
    for name in twice(volumes):
        yield f"two volumes are called {name}"
    for container in containers:
        name = container["name"]
        for kind in ("liveness", "readiness", "startup"):
            probe = container.get(f"{kind}Probe")
            if probe is not None and len(HANDLERS & probe.keys()) != 1:
                yield f"{name}: its {kind} probe has the handlers {sorted(HANDLERS & probe.keys())} instead of one"
            if kind != "readiness" and (probe or {}).get("successThreshold", 1) != 1:
                yield f"{name}: its {kind} probe has a successThreshold other than 1"
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{name}: there is no volume {mount['name']} to mount"
        for path in twice(mount["mountPath"] for mount in container.get("volumeMounts", [])):
            yield f"{name}: two volumes are mounted at {path}"
        for port in twice(port["name"] for port in container.get("ports", []) if "name" in port):
            yield f"{name}: two ports are called {port}"


def errors(document, versions):
    """The errors of an object."""
    name = (document["apiVersion"], document["kind"])
    if name not in NOT_COVERED:
        for version in versions:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{version}: {'.'.join(map(str, error.path))}: {error.message}"
            except kubernetes_validate.SchemaNotFoundError as error:
                yield error.message
    found = pod(document)
    if found:
        yield from (f"restricted: {error}" for error in restricted(*found))
        yield from (f"refused: {error}" for error in refused(found[1]))


def unnoticed(versions):
    """Deliberate mistakes in the base that the checks do not notice: there should be none."""
    def container(deployment):
        return deployment["spec"]["template"]["spec"]["containers"][0]

    mistakes = {
        "an unknown field": lambda it: it["spec"].update(replica=2),
        "a wrong type": lambda it: it["spec"].update(replicas="two"),
        "a field of an older API": lambda it: it.update(apiVersion="apps/v1beta1"),
        "a capability kept": lambda it: container(it)["securityContext"].pop("capabilities"),
        "a capability added": lambda it: container(it)["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
        "escalation": lambda it: container(it)["securityContext"].pop("allowPrivilegeEscalation"),
        "privilege": lambda it: container(it)["securityContext"].update(privileged=True),
        "root": lambda it: container(it)["securityContext"].update(runAsNonRoot=False),
        "user 0": lambda it: container(it)["securityContext"].update(runAsUser=0),
        "no seccomp profile": lambda it: it["spec"]["template"]["spec"]["securityContext"].pop("seccompProfile"),
        "the host's network": lambda it: it["spec"]["template"]["spec"].update(hostNetwork=True),
        "the host's port": lambda it: container(it)["ports"][0].update(hostPort=80),
        "the host's files": lambda it: it["spec"]["template"]["spec"].update(
            volumes=[{"name": "host", "hostPath": {"path": "/"}}]
        ),
        "an init container without restrictions": lambda it: it["spec"]["template"]["spec"].update(
            initContainers=[{"name": "init", "image": "init"}]
        ),
        "two handlers": lambda it: container(it)["livenessProbe"].update(tcpSocket={"port": 80}),
        "no handler": lambda it: container(it)["livenessProbe"].pop("httpGet"),
        "two containers of one name": lambda it: it["spec"]["template"]["spec"]["containers"].append(container(it)),
        "a mount without a volume": lambda it: container(it).update(volumeMounts=[{"name": "none", "mountPath": "/x"}]),
    }
    base = next(document for document in kustomize(BASE) if document["kind"] == "Deployment")
    for name, mistake in mistakes.items():
        deployment = copy.deepcopy(base)
        mistake(deployment)
        if not list(errors(deployment, versions)):
            yield f"the checks do not notice {name}"


def main():
    known = {major_minor(version) for version in all_versions()}
    versions = sorted(known, key=lambda version: [int(part) for part in version.split(".")])[-VERSIONS:]
    given = [pathlib.Path(folder).resolve() for folder in sys.argv[1:]]
    folders = given or sorted(file.parent for file in MANIFESTS.rglob("kustomization.yaml"))
    seen, failures, left_out = 0, list(unnoticed(versions)), set()
    for folder in folders:
        place = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
        try:
            rendered = render(folder)
        except ValueError as error:
            failures.append(f"{place}: {error}")
            continue
        for name, documents in rendered:
            if not documents:
                failures.append(f"{place} {name}: it renders nothing")
            for document in documents:
                seen += 1
                where = f"{place} {name}: {document['kind']} {document['metadata']['name']}"
                failures.extend(f"{where}: {error}" for error in errors(document, versions))
                if (document["apiVersion"], document["kind"]) in NOT_COVERED:
                    left_out.add(document["kind"])
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"Kubernetes {', '.join(versions)}: {seen} objects of {len(folders)} folders")
    print(f"not covered: {', '.join(sorted(left_out)) or 'none'}")
    if not folders:
        print("no kustomization was found", file=sys.stderr)
    return 1 if failures or not folders else 0


if __name__ == "__main__":
    sys.exit(main())
