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

BINARY = str(pathlib.Path(sys.argv[1]).resolve())
CYCLES = int(sys.argv[2]) if len(sys.argv) > 2 else 2
HERE = pathlib.Path(__file__).parent
# Names and addresses of its own, so that two runs on one machine do not meet.
OWN = os.getpid()
SPACE, LINK = f"probesim-{OWN}", f"probesim{OWN}"
HOST, POD, PORT = f"10.77.{OWN % 256}.1", f"10.77.{OWN % 256}.2", 8080
# Memory of its own. How many pages of the program are resident beside it depends on the size of the pieces in which the kernel
# keeps the file: 3 to 5 MiB for the same binary.
MOST_OWN_KIB = 768
INSIDE = ["ip", "netns", "exec", SPACE]

# A server that answers with the client's address. With `fork`, SIGHUP ends its child and starts another one after a
# moment, sooner than a container restarts; what it prints says whether the port was free. Arguments: address, port, options.
PYTHON = r'''
import http.server, os, signal, socket, socketserver, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = (self.client_address[0] + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads, request_queue_size = True, 1024
    allow_reuse_address = "no-reuse" not in sys.argv
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
    def server_bind(self):
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int("v6only" in sys.argv))
        socketserver.TCPServer.server_bind(self)
def serve():
    try:
        server = Server((sys.argv[1], int(sys.argv[2])), Handler)
    except OSError as error:
        print("failed", error, flush=True)
        os._exit(1)
    print("listens", flush=True)
    server.serve_forever()
def start():
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
        serve()
    return child
if "fork" not in sys.argv:
    serve()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGTERM])
child = start()
while signal.sigwait([signal.SIGHUP, signal.SIGTERM]) == signal.SIGHUP:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    time.sleep(0.05)
    child = start()
os.kill(child, signal.SIGKILL)
'''


def run(*command, **more):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, **more).stdout


@contextlib.contextmanager
def network():
    """A namespace like that of a Pod, behind a pair of interfaces. Any user may bind any port, as in a Pod."""
    run("ip", "netns", "add", SPACE)
    try:
        run("ip", "link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", SPACE)
        run("ip", "addr", "add", f"{HOST}/24", "dev", LINK)
        run("ip", "link", "set", LINK, "up")
        run(*INSIDE, "ip", "addr", "add", f"{POD}/24", "dev", "eth0")
        run(*INSIDE, "ip", "link", "set", "eth0", "up")
        run(*INSIDE, "ip", "link", "set", "lo", "up")
        run(*INSIDE, "sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=0")
        yield
    finally:
        subprocess.run(["ip", "netns", "del", SPACE])


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "never"
        time.sleep(0.02)


def get(port=PORT, host=POD, headers={}):
    """Status and body of an answer over a new connection."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", "/", headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def answers(port=PORT):
    with contextlib.suppress(OSError):
        return get(port)[0] == 200


def listens(port=PORT):
    return f":{port} " in run(*INSIDE, "ss", "-Hltn")


@contextlib.contextmanager
def server(*command, port=PORT, user=None, ready=answers):
    """A server within the namespace."""
    if user:
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
    process = subprocess.Popen([*INSIDE, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        until(lambda: ready(port))
        yield process
    finally:
        process.terminate()
        process.wait()


def python(*arguments, address="0.0.0.0", port=PORT, **more):
    return server(sys.executable, "-c", PYTHON, address, port, *arguments, port=port, **more)


def nginx(folder, options=""):
    (folder / "nginx.conf").write_text(f"""
daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 2; user nobody nogroup; events {{}}
http {{ access_log off; keepalive_requests 1000000; server {{ listen {PORT} {options}; return 200 "$remote_addr\\n"; }} }}""")
    return server("/usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf")


def haproxy(folder):
    (folder / "haproxy.cfg").write_text(f"""
defaults
  mode http
  timeout client 30s
  timeout http-keep-alive 30s
frontend web
  bind :{PORT}
  http-request return status 200 content-type text/plain lf-string "%ci\\n"
""")
    return server("/usr/sbin/haproxy", "-W", "-f", folder / "haproxy.cfg")


def golang(folder):
    go = pathlib.Path(sys.executable).parent / "go"
    if not (folder / "go-server").exists():
        settings = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOTELEMETRY": "off"}
        run(go, "build", "-o", folder / "go-server", ".", cwd=HERE / "go-server", env=os.environ | settings)
    return server(folder / "go-server", f":{PORT}")


class Attached:
    """A running `attach`, and what it prints."""

    def __init__(self, *options, port=PORT, before=(), env=None):
        command = [*INSIDE, *before, BINARY, "attach", "--port", str(port), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        self.first = json.loads(self.process.stdout.readline())

    def ended(self):
        """Its last line, once it has ended by itself."""
        out, self.errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, (self.process.returncode, out, self.errors)
        return json.loads(out.splitlines()[-1])["released"]

    def stop(self):
        self.process.terminate()
        return self.ended()

    def __enter__(self):
        assert "attached" in self.first, self.first
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def checked(*options, port=PORT, before=()):
    """What a dry run prints, or the refusal."""
    command = [*INSIDE, *before, BINARY, "attach", "--port", str(port), "--dry-run", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    line = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == (78 if "refused" in line else 0), (done.returncode, line, done.stderr)
    return line


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
def load():
    """Eight clients that lose nothing."""
    clients = [Load(keeps) for keeps in (False, True) * 4]
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
        with load() as clients:
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


def restarts_find_the_port_free(times):
    with python("fork") as process:
        assert process.stdout.readline() == "listens\n"
        for _ in range(times):
            with Attached() as attached:
                connection = http.client.HTTPConnection(POD, PORT, timeout=10)
                connection.request("GET", "/")
                assert connection.getresponse().read()
                process.send_signal(signal.SIGHUP)
                said = process.stdout.readline()
                assert said == "listens\n", said
                released = attached.ended()
                assert (released["reason"], released["next_connection"]) == ("application ended", "application"), released
    print(f"restarts: {times} without EADDRINUSE")


def a_kill_at_any_instant_leaves_the_application_working(times):
    landed = 0
    with python("fork") as process:
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
        rights_are_few_and_their_lack_is_named(folder)
        restarts_find_the_port_free(max(3, CYCLES // 2))
        a_kill_at_any_instant_leaves_the_application_working(max(20, CYCLES))
        an_idle_attach_is_small()


if __name__ == "__main__":
    main()
