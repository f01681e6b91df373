"""`attach` before real servers in a network namespace: nginx, HAProxy, Python and Go, under load from outside of it.

Usage: attach.py BINARY [CYCLES]    CYCLES is how often each server is taken and given back, 2 unless given
"""

import contextlib
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from attach_pod import BINARY, HOST, INSIDE, POD, PORT, Attached, checked, get, golang, haproxy, listens, network, nginx, postgres, python, redis, run, server, until

CYCLES = int(sys.argv[2]) if len(sys.argv) > 2 else 2
# Memory of its own. How many pages of the program are resident beside it depends on the size of the pieces in which the kernel
# keeps the file: 3 to 5 MiB for the same binary.
MOST_OWN_KIB = 768


class Load(threading.Thread):
    """Requests without a pause, each over a connection of its own or all over one while the server keeps it."""

    def __init__(self, keeps):
        super().__init__(daemon=True)
        self.keeps, self.count, self.lost, self.over = keeps, 0, [], False

    def run(self):
        connection = None
        while not self.over:
            connection = connection or http.client.HTTPConnection(POD, PORT, timeout=10)
            try:
                connection.request("GET", "/", headers={} if self.keeps else {"Connection": "close"})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.lost.append(answer.status)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                connection.close()
                connection = None
            self.count += 1
            if connection and not self.keeps:
                connection.close()
                connection = None
            time.sleep(0.001)


@contextlib.contextmanager
def load(clients):
    """Clients that lose nothing."""
    for client in clients:
        client.start()
    yield clients
    for client in clients:
        client.over = True
    for client in clients:
        client.join()
    lost = [error for client in clients for error in client.lost]
    assert not lost, (len(lost), lost[:5])


def cycles_lose_no_request(name, serves, method):
    """Takes the port and gives it back under load."""
    with serves:
        line = checked()
        assert line["checked"]["method"] == method, line
        passed, took = 0, []
        with load([Load(keeps) for keeps in (False, True) * 4]) as clients:
            for _ in range(CYCLES):
                began = time.monotonic()
                with Attached() as attached:
                    took.append(time.monotonic() - began)
                    assert attached.first["attached"]["listen"] == [f"{POD}:{PORT}"], attached.first
                    time.sleep(0.3)
                    released = attached.stop()
                assert (released["reason"], released["next_connection"]) == ("stop", "application"), released
                counted = [line for line in attached.errors.splitlines() if '"total of requests"' in line]
                passed += sum(json.loads(line)["count"] for line in counted)
        total = sum(client.count for client in clients)
    assert passed > 5 * CYCLES, passed
    print(f"{name}: {CYCLES} cycles, {total} requests, {passed} of them through the proxy, none lost; taken in {max(took) * 1000:.0f} ms")


class TcpLoad(Load):
    """Commands to Redis without a pause, each over a connection of its own."""

    def __init__(self, port):
        super().__init__(False)
        self.port = port

    def run(self):
        while not self.over:
            try:
                with socket.create_connection((POD, self.port), timeout=10) as connection:
                    connection.sendall(b"PING\r\n")
                    answer = connection.recv(16)
                if answer != b"+PONG\r\n":
                    self.lost.append(answer)
            except OSError as error:
                self.lost.append(repr(error))
            self.count += 1
            time.sleep(0.001)


def databases_are_taken_as_tcp(folder):
    port = 6379
    with redis(port):
        # A connection from before stays with the application.
        old = socket.create_connection((POD, port), timeout=10)
        passed = 0
        with load([TcpLoad(port) for _ in range(4)]) as clients:
            for _ in range(CYCLES):
                with Attached("--protocol", "tcp", "--for", "5m", port=port) as attached:
                    time.sleep(0.3)
                    admin = attached.first["attached"]["admin"]
                    metrics = run(*INSIDE, "curl", "-s", f"http://{admin}/metrics")
                    ended = [line for line in metrics.splitlines() if line.startswith('probesim_proxy_connections_total{proxy="application"')]
                    passed += sum(int(line.split()[-1]) for line in ended)
                    released = attached.stop()
                assert (released["reason"], released["next_connection"]) == ("stop", "application"), released
        assert passed > 20 * CYCLES, passed
        old.sendall(b"PING\r\n")
        assert old.recv(16) == b"+PONG\r\n"
        print(f"Redis: {CYCLES} cycles, {sum(client.count for client in clients)} commands, {passed} of them through the proxy, none lost")
    port = 5432
    psql = ["psql", "-h", POD, "-p", str(port), "-U", "postgres", "-tAc", "select 40 + 2"]
    with postgres(folder, port):
        with Attached("--protocol", "tcp", "--delay", "100ms", "--stream", "upstream", port=port) as attached:
            began = time.monotonic()
            assert run(*psql) == "42\n" and time.monotonic() - began >= 0.2
            admin = attached.first["attached"]["admin"]
            run(*INSIDE, BINARY, "fault", "add", "application", "--mode", "reset", "--admin", admin)
            assert subprocess.run(psql, capture_output=True).returncode == 2
            released = attached.stop()
            counts = {total["rule"]: total["injected"] for total in released["totals"]}
            assert counts["application-reset"] >= 1 and counts["application-delay"] >= 1, released
        assert run(*psql) == "42\n"
    print("PostgreSQL: delayed, cut, and given back")


def restarts_find_the_port_free(times, pause):
    ended = []
    with python("fork", pause) as process:
        assert process.stdout.readline() == "listens\n"
        for _ in range(times):
            attached = Attached()
            assert "attached" in attached.first, attached.first
            connection = http.client.HTTPConnection(POD, PORT, timeout=10)
            connection.request("GET", "/")
            assert connection.getresponse().read()
            process.send_signal(signal.SIGHUP)
            said = process.stdout.readline()
            assert said == "listens\n", said
            # It drains while the next one begins.
            ended.append(attached)
        for attached in ended:
            released = attached.ended()
            assert released["reason"] == "application ended", released
        # Others may have looked while the application restarted once more.
        assert released["next_connection"] == "application", released
    print(f"restarts after {pause * 1000:g} ms: {times} without EADDRINUSE")


def a_kill_at_any_instant_leaves_the_application_working(times):
    landed = 0
    with python("fork", 0) as process:
        assert process.stdout.readline() == "listens\n"
        began = time.monotonic()
        with Attached():
            takes = time.monotonic() - began
        for _ in range(times):
            command = [*INSIDE, BINARY, "attach", "--port", str(PORT)]
            attached = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            time.sleep(random.uniform(0, 1.3 * takes))
            attached.kill()
            landed += b"attached" in attached.communicate()[0]
            assert get() == (200, f"{HOST}\n")
        with Attached("--status", "503") as last:
            assert get()[0] == 503
            last.stop()
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "listens\n"
    print(f"kills: {times}, {landed} of them after the take; the application works")


def reloads_keep_it_attached(folder):
    for name, serves, how in ("nginx", nginx(folder), signal.SIGHUP), ("HAProxy", haproxy(folder), signal.SIGUSR2):
        with serves as process, Attached("--status", "503") as attached:
            workers = lambda: subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True).stdout.split()
            before = workers()
            process.send_signal(how)
            until(lambda: workers() and not set(workers()) & set(before))
            assert (get()[0], attached.process.poll()) == (503, None), name
            assert attached.stop()["next_connection"] == "application"


def rules_act_on_whom_they_should():
    with python():
        with Attached("--status", "503", "--path", "/", "--name", "down") as attached:
            assert get()[0] == 503
            assert get(headers={"User-Agent": "kube-probe/1.36"}) == (200, f"{POD}\n"), "the kubelet is spared"
            own = run(*INSIDE, "curl", "-s", f"http://127.0.0.1:{PORT}/")
            assert own == "127.0.0.1\n", own
            released = attached.stop()
            assert released["totals"] == [{"rule": "down", "eligible": 1, "injected": 1}], released
        assert get() == (200, f"{HOST}\n")
        with Attached("--as-localhost"):
            assert get() == (200, "127.0.0.1\n")
        with Attached("--for", "1s") as attached:
            admin = attached.first["attached"]["admin"]
            run(*INSIDE, BINARY, "fault", "add", "traffic", "--status", "418", "--admin", admin)
            assert get()[0] == 418
            assert attached.ended()["reason"] == "time limit"
        with Attached():
            run(*INSIDE, BINARY, "attach", "--stop")
        assert get() == (200, f"{HOST}\n")
        again = subprocess.run([*INSIDE, BINARY, "attach", "--stop"], capture_output=True, text=True)
        assert (again.returncode, again.stderr) == (1, "kube-probesim attach: no attach runs in this container\n"), again


def wildcard_listeners_are_taken_and_their_copies_are_not_kept(folder):
    ourselves = server("env", f"PORT={PORT}", "ADMIN_ADDRESS=127.0.0.1:8099", BINARY)
    for name, serves in ("Go, IPv4", golang(folder, "0.0.0.0")), ("Python, dual-stack", python(address="::")), ("ourselves", ourselves):
        with serves, Attached("--status", "503") as attached:
            assert get()[0] == 503, name
            sockets = lambda of: {os.readlink(file) for file in pathlib.Path(f"/proc/{of}/fd").iterdir()}
            kept = sockets(attached.process.pid) & sockets(attached.first["attached"]["pid"])
            assert not {file for file in kept if file.startswith("socket:")}, (name, kept)
            assert attached.stop()["next_connection"] == "application", name


def connections_in_time_wait_refuse_the_take_without_so_reuseaddr():
    port = 8083
    with python("no-reuse", port=port, ready=listens):
        assert get(port, headers={"Connection": "close"})[0] == 200
        until(lambda: run(*INSIDE, "ss", "-Htn", "state", "time-wait", "sport", f":{port}"))
        refused = Attached(port=port).first["refused"]
        assert "keep" in refused["reason"] and "SO_REUSEADDR" in refused["remedy"], refused
        assert get(port)[0] == 200


def what_is_open_stays_or_ends():
    # A port of its own: without SO_REUSEADDR, connections of servers before it would keep it.
    port = 8082
    with python("no-reuse", port=port, ready=listens):
        old = http.client.HTTPConnection(POD, port, timeout=10)
        old.connect()
        connected = old.sock

        def status():
            old.request("GET", "/")
            answer = old.getresponse()
            answer.read()
            assert old.sock is connected
            return answer.status

        assert status() == 200
        # Its connection would keep the address, so the option is set on a copy of it, too.
        with Attached("--status", "503", port=port):
            assert get(port)[0] == 503
            assert status() == 200, "the connection that was open stays with the application"
        with Attached("--existing", port=port):
            with contextlib.suppress(ConnectionError):
                assert connected.recv(1) == b"", "the connection that was open is still open"
            assert get(port)[0] == 200


def rights_are_few_and_their_lack_is_named(folder):
    def as_user(user, *capabilities):
        kept = ",".join(["-all", *(f"+{name}" for name in capabilities)])
        return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--bounding-set", kept, "--inh-caps", kept]

    # One server for each: the kernel remembers for the rest of its life that its port was shared.
    with python(user=1000):
        assert checked(before=as_user(1000))["checked"]["uid"] == 1000
        refused = checked(before=as_user(1001))["refused"]
        assert "are hidden from user 1001" in refused["reason"], refused
        refused = checked(before=as_user(0))["refused"]
        assert "SYS_PTRACE" in refused["remedy"], refused
        with Attached("--status", "503", before=as_user(1000)):
            assert get()[0] == 503
    with python(user=1000, port=80):
        with Attached("--status", "503", port=80, before=as_user(0, "sys_ptrace", "setuid")):
            assert get(80)[0] == 503
    for options, address, reason in [
        ("", "127.0.0.1", "nobody outside the Pod can reach"),
        ("", POD, "alone, so that it would share its connections"),
        ("v6only", "::", "for IPv6 alone"),
    ]:
        with python(options, address=address, ready=listens):
            refused = checked()["refused"]
            assert reason in refused["reason"] and refused["remedy"], refused
    with nginx(folder, "reuseport"):
        # Workers with SO_REUSEPORT: no copy is needed, so no right to it either.
        with Attached("--status", "503", before=as_user(0, "setuid")):
            assert get()[0] == 503


def an_idle_attach_is_small(seconds=2):
    with python():
        with Attached() as attached:
            for _ in range(20):
                get()
            pid = attached.process.pid
            ticks = lambda: sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
            time.sleep(1)
            before = ticks()
            time.sleep(seconds)
            used = (ticks() - before) / os.sysconf("SC_CLK_TCK") / seconds
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            own, resident = (int(status.split(f"{field}:")[1].split()[0]) for field in ("RssAnon", "VmRSS"))
    print(f"idle: {own} KiB of its own, {resident} KiB resident with the program, {used * 100:.1f} % of a core")
    assert used < 0.05, used
    # A build without optimisation is larger.
    assert own <= MOST_OWN_KIB or "release" not in BINARY, own


def main():
    with tempfile.TemporaryDirectory() as folder, network():
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        cycles_lose_no_request("nginx", nginx(folder), "copy")
        cycles_lose_no_request("nginx, reuseport", nginx(folder, "reuseport"), "reuse-port")
        cycles_lose_no_request("HAProxy", haproxy(folder), "reuse-port")
        cycles_lose_no_request("Python", python(), "copy")
        cycles_lose_no_request("Go, dual-stack", golang(folder), "copy")
        rules_act_on_whom_they_should()
        reloads_keep_it_attached(folder)
        what_is_open_stays_or_ends()
        wildcard_listeners_are_taken_and_their_copies_are_not_kept(folder)
        connections_in_time_wait_refuse_the_take_without_so_reuseaddr()
        rights_are_few_and_their_lack_is_named(folder)
        # Sooner than any container runtime, and later than a busy machine notices the end.
        restarts_find_the_port_free(max(20, CYCLES // 2), 0.02)
        databases_are_taken_as_tcp(folder)
        a_kill_at_any_instant_leaves_the_application_working(max(20, CYCLES))
        an_idle_attach_is_small()


if __name__ == "__main__":
    main()
