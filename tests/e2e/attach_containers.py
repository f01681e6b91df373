"""`attach` in a container that shares the process namespace of the application's container: which rights are enough.

Usage: attach_containers.py BINARY
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from attach_pod import BINARY, SPACE, answers, get, network, run, until

IMAGE, NAME = "localhost/probesim-attach:test", f"probesim-attach-{os.getpid()}"
# Containers of this machine may not raise their limits. Everything but the program and, for servers of Debian, its folders is missing.
PODMAN = ["podman", "--runtime", shutil.which("runc") or "/usr/sbin/runc", "run", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]
PODMAN += ["--network", f"ns:/run/netns/{SPACE}", "--read-only", "--cap-drop=ALL"]
SYSTEM = [word for folder in ("/usr", "/etc", "/lib", "/lib64") for word in ("-v", f"{folder}:{folder}:ro")]
ROOT = ["--user", "0:0", "--cap-add", "SYS_PTRACE", "--cap-add", "SETUID"]
BESIDE = ["--pid", f"container:{NAME}"]
APPLICATION = "1000:1000"


def image(folder):
    shutil.copy(BINARY, folder / "kube-probesim")
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY kube-probesim /kube-probesim\nENTRYPOINT ["/kube-probesim"]\n')
    run("podman", "build", "--quiet", "-t", IMAGE, folder)


def profile(folder):
    """The profile of containerd: unlike podman's, it allows copying descriptors only beside SYS_PTRACE, with EPERM otherwise."""
    known = json.loads(pathlib.Path("/usr/share/containers/seccomp.json").read_text())
    for group in known["syscalls"]:
        group["names"] = [name for name in group["names"] if name != "pidfd_getfd"]
    known["syscalls"] = [group for group in known["syscalls"] if group["names"]]
    copies = {"names": ["pidfd_getfd"], "args": [], "comment": "", "excludes": {}}
    known["syscalls"] += [
        copies | {"action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_PTRACE"]}},
        copies | {"action": "SCMP_ACT_ERRNO", "errnoRet": 1, "includes": {}, "excludes": {"caps": ["CAP_SYS_PTRACE"]}},
    ]
    path = folder / "containerd.json"
    path.write_text(json.dumps(known))
    return ["--security-opt", f"seccomp={path}"]


@contextlib.contextmanager
def application(*options):
    """The application's container. Podman starts it with its default profile."""
    run(*PODMAN, "--detach", "--name", NAME, *options)
    try:
        until(answers)
        yield
    finally:
        run("podman", "rm", "--force", "--time", "0", NAME)


def ourselves():
    return application("--user", APPLICATION, "--env", "PORT=8080", "--env", "ADMIN_ADDRESS=127.0.0.1:8099", IMAGE)


def nginx(folder, options):
    (folder / "nginx.conf").write_text(f"""
daemon off; pid /tmp/nginx.pid; error_log stderr; worker_processes 2; events {{}}
http {{
  access_log off; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;
  server {{ listen 8080 {options}; return 200 "$remote_addr\\n"; }}
}}""")
    conf = ["-v", f"{folder}:/conf:ro", "--tmpfs", "/tmp:rw,mode=1777", "--entrypoint", "/usr/sbin/nginx"]
    return application("--user", APPLICATION, *SYSTEM, *conf, IMAGE, "-c", "/conf/nginx.conf")


def started(*options):
    """A container of `attach`, and its first line."""
    command = [*PODMAN, "--rm", *options, IMAGE, "attach", "--port", "8080", "--status", "503", "--for", "5m"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return process, json.loads(process.stdout.readline())


def attach(*options, shares=True):
    """Attaches for a moment; the reason if it is refused."""
    process, first = started(*BESIDE if shares else (), *options)
    if "refused" in first:
        process.wait()
        return first["refused"]["reason"]
    try:
        assert get()[0] == 503
        # `attach --stop` in the same container is tried elsewhere; podman passes the signal on.
        process.terminate()
        released = json.loads(process.communicate(timeout=30)[0].splitlines()[-1])["released"]
        assert (released["reason"], released["next_connection"]) == ("stop", "application"), released
        assert get()[0] == 200
    finally:
        process.kill()
    return "taken"


def process_1_of_the_namespace_takes_attach_with_it():
    with ourselves():
        process, first = started(*BESIDE, *ROOT)
        assert first["attached"]["pid"] == 1 and get()[0] == 503, first
        run("podman", "restart", "--time", "0", NAME)
        until(answers)
        out, _ = process.communicate(timeout=30)
        assert (process.returncode, out) == (137, ""), (process.returncode, out)
    print("process 1 restarts: attach ends with it, and the port is free")


def a_container_restarts_in_a_shared_process_namespace(times):
    # Process 1 is another container's, as with shareProcessNamespace.
    holder = f"{NAME}-holder"
    run(*PODMAN, "--detach", "--name", holder, "--env", "PORT=8079", "--env", "ADMIN_ADDRESS=127.0.0.1:8098", IMAGE)
    beside = ["--pid", f"container:{holder}"]
    try:
        with application(*beside, "--user", APPLICATION, "--env", "PORT=8080", "--env", "ADMIN_ADDRESS=127.0.0.1:8099", IMAGE):
            for _ in range(times):
                process, first = started(*beside, *ROOT)
                assert first["attached"]["pid"] > 1 and get()[0] == 503, first
                run("podman", "restart", "--time", "0", NAME)
                until(answers)
                released = json.loads(process.communicate(timeout=30)[0].splitlines()[-1])["released"]
                assert (released["reason"], released["next_connection"]) == ("application ended", "application"), released
    finally:
        run("podman", "rm", "--force", "--time", "0", holder)
    print(f"a container restarts in a shared process namespace: {times} without EADDRINUSE")


def main():
    with tempfile.TemporaryDirectory() as folder, network():
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        image(folder)
        containerd, unconfined = profile(folder), ["--security-opt", "seccomp=unconfined"]
        same, restricted = ["--user", APPLICATION], ["--security-opt", "no-new-privileges"]
        ours, shared, alone = (ourselves, ()), (nginx, (folder, "reuseport")), (nginx, (folder, ""))
        for serves, rights, options, expected in [
            (ours, "root, SYS_PTRACE, SETUID; containerd's profile", [*ROOT, *containerd], "taken"),
            (ours, "root, SYS_PTRACE, SETUID; no profile", [*ROOT, *unconfined], "taken"),
            (ours, "its user and group; no profile", [*same, *unconfined], "taken"),
            (ours, "its user and group; podman's profile", same, "taken"),
            (ours, "its user and group; containerd's profile", [*same, *containerd], "may not copy a socket"),
            (ours, "its user, another group; no profile", ["--user", "1000:1001", *unconfined], "are hidden from user 1000"),
            (ours, "root without capabilities; no profile", ["--user", "0:0", *unconfined], "are hidden from user 0"),
            (ours, "root, SYS_PTRACE alone", ROOT[:4], "whom this process may not become"),
            (ours, "root, SYS_PTRACE, SETUID; another process namespace", None, "no process of this process namespace"),
            (shared, "its user and group; restricted, containerd's profile", [*same, *restricted, *containerd], "taken"),
            (alone, "its user and group; restricted, containerd's profile", [*same, *restricted, *containerd], "may not copy a socket"),
        ]:
            # One application for each: the kernel remembers for the rest of its life that its port was shared.
            with serves[0](*serves[1]):
                found = attach(*ROOT, shares=False) if options is None else attach(*options)
            assert expected in found, (rights, found)
            print(f"{serves[0].__name__} {' '.join(serves[1][1:])}: {rights}: {found}")
        process_1_of_the_namespace_takes_attach_with_it()
        a_container_restarts_in_a_shared_process_namespace(5)


if __name__ == "__main__":
    main()
