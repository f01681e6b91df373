"""A network namespace like that of a Pod, servers in it, and `attach` there, for the other scripts. The script's first argument is
the binary."""

import contextlib
import glob
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

BINARY = str(pathlib.Path(sys.argv[1]).resolve())
HERE = pathlib.Path(__file__).parent
# Names and addresses of its own, so that two runs on one machine do not meet.
OWN = os.getpid()
SPACE, LINK = f"probesim-{OWN}", f"probesim{OWN}"
HOST, POD, PORT = f"10.77.{OWN % 256}.1", f"10.77.{OWN % 256}.2", 8080
INSIDE = ["ip", "netns", "exec", SPACE]

# A server that answers with the client's address. With `fork`, SIGHUP ends its child and starts another one after so many
# seconds as the last argument says; what it prints says whether the port was free.
# Arguments: address, port, options.
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
    time.sleep(float(sys.argv[-1]))
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


def redis(port):
    is_up = lambda port: subprocess.run(["redis-cli", "-h", POD, "-p", str(port), "ping"], capture_output=True).stdout == b"PONG\n"
    return server("redis-server", "--bind", "0.0.0.0", "--port", port, "--save", "", "--protected-mode", "no", port=port, ready=is_up)


@contextlib.contextmanager
def postgres(folder, port):
    """PostgreSQL as Debian's user for it, since it refuses root."""
    programs, data = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]), folder / "postgres"
    data.mkdir()
    shutil.chown(data, "postgres")
    run("runuser", "-u", "postgres", "--", programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 trust\n")
    is_up = lambda port: subprocess.run([programs / "pg_isready", "-q", "-h", POD, "-p", str(port)]).returncode == 0
    options = ["-D", data, "-p", port, "-cfsync=off", "-clisten_addresses=0.0.0.0", f"-cunix_socket_directories={data}"]
    with server("runuser", "-u", "postgres", "--", programs / "postgres", *options, port=port, ready=is_up) as process:
        yield process


def golang(folder, address=""):
    go = pathlib.Path(sys.executable).parent / "go"
    if not (folder / "go-server").exists():
        settings = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOTELEMETRY": "off"}
        run(go, "build", "-o", folder / "go-server", ".", cwd=HERE / "go-server", env=os.environ | settings)
    return server(folder / "go-server", f"{address}:{PORT}")


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
