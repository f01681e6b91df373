"""PostgreSQL, Redis and nginx from Debian behind TCP proxies, with pgbench, psql, redis-benchmark, wrk and curl as clients, and
SMTP, in which the server speaks first.

Usage: databases.py BINARY
"""

import contextlib
import glob
import json
import os
import pathlib
import re
import shutil
import smtplib
import socketserver
import subprocess
import tempfile
import threading
import time
import urllib.request

from running import ADMIN, metric, service

HOST = "127.0.0.1"
POSTGRES, REDIS, NGINX, REDIS_TLS, SMTP = 18951, 18952, 18953, 18954, 18955
PROXIES = {
    "db": (18961, f"{HOST}:{POSTGRES}"),
    "cache": (18962, f"{HOST}:{REDIS}"),
    "web": (18963, f"{HOST}:{NGINX}"),
    # The client speaks plain TCP, and the proxy speaks TLS.
    "secret": (18964, f"tls://localhost:{REDIS_TLS}"),
    "mail": (18965, f"{HOST}:{SMTP}"),
}
BIN = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]


@contextlib.contextmanager
def running(command, is_up, **options):
    """A server, after a command has shown that it is up."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        for _ in range(200):
            if subprocess.run(is_up, capture_output=True).returncode == 0:
                break
            assert process.poll() is None, command
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def certificate(folder):
    """A certificate for localhost, which is its own authority."""
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    files = ["-keyout", folder / "server.key", "-out", folder / "server.crt"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *files, *names], check=True, capture_output=True)


class Mail(socketserver.StreamRequestHandler):
    """A mail server that greets first and accepts every message."""

    def handle(self):
        self.wfile.write(b"220 localhost ready\r\n")
        while line := self.rfile.readline().strip().upper():
            if line == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline() != b".\r\n":
                    pass
            self.wfile.write(b"221 bye\r\n" if line == b"QUIT" else b"250 ok\r\n")


class MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True


def postgres(folder):
    """PostgreSQL with TLS, as Debian's user for it, since it refuses root."""
    data = folder / "postgres"
    as_user = ["runuser", "-u", "postgres", "--"]
    data.mkdir()
    shutil.chown(data, "postgres")
    subprocess.run([*as_user, BIN + "/initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"], check=True, capture_output=True)
    for name in ("server.key", "server.crt"):
        shutil.copy(folder / name, data)
        shutil.chown(data / name, "postgres")
        (data / name).chmod(0o600)
    settings = {"port": POSTGRES, "ssl": "on", "fsync": "off", "max_connections": 60, "listen_addresses": HOST, "unix_socket_directories": data}
    options = [f"-c{name}={value}" for name, value in settings.items()]
    is_up = [BIN + "/pg_isready", "-q", "-h", HOST, "-p", str(POSTGRES)]
    return running([*as_user, BIN + "/postgres", "-D", data, *options], is_up)


def redis(folder):
    tls = ["--tls-port", str(REDIS_TLS), "--tls-cert-file", folder / "server.crt", "--tls-key-file", folder / "server.key", "--tls-auth-clients", "no"]
    command = ["redis-server", "--bind", HOST, "--port", str(REDIS), *tls, "--save", "", "--dir", folder]
    return running(command, ["redis-cli", "-h", HOST, "-p", str(REDIS), "ping"])


def nginx(folder):
    (folder / "page").write_text("x" * 5000)
    (folder / "nginx.conf").write_text(f"""
daemon off; master_process off; pid nginx.pid; error_log stderr; events {{}}
http {{
  access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server {{ listen {HOST}:{NGINX}; root {folder}; keepalive_requests 1000000; }}
}}""")
    return running(["/usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf"], ["curl", "-sf", f"http://{HOST}:{NGINX}/page"])


def rule(name, **fields):
    """Puts a rule in force; without fields, removes it."""
    body = json.dumps(fields).encode() if fields else None
    headers = {"Content-Type": "application/json"} if fields else {}
    method = "PUT" if fields else "DELETE"
    urllib.request.urlopen(urllib.request.Request(f"{ADMIN}/v1/faults/{name}", body, headers, method=method), timeout=5)


def injected(name):
    return metric("probesim_faults_injected_total", f'fault="{name}"')


def pgbench(*arguments):
    port = str(PROXIES["db"][0])
    command = [BIN + "/pgbench", "-h", HOST, "-p", port, "-U", "postgres", *arguments, "postgres"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"PGCONNECT_TIMEOUT": "2"})


def redis_benchmark(*arguments, proxy="cache", timeout=60):
    command = ["redis-benchmark", "-h", HOST, "-p", str(PROXIES[proxy][0]), "-q", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


def redis_benchmark_fails():
    """Whether a command fails. After a failed write, pgbench waits forever instead of failing."""
    try:
        return redis_benchmark("-c", "1", "-n", "6000", "-t", "get", timeout=8).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def all_go_on():
    """Each client finishes without an error."""
    done = pgbench("-S", "-n", "-c", "8", "-t", "100")
    assert done.returncode == 0 and "800/800" in done.stdout, done
    for proxy in ("cache", "secret"):
        done = redis_benchmark("-c", "20", "-n", "2000", "-t", "get,set,lrange_100", proxy=proxy)
        assert done.returncode == 0 and "LRANGE_100" in done.stdout and "rror" not in done.stdout + done.stderr, done
    with smtplib.SMTP(HOST, PROXIES["mail"][0], timeout=20) as mail:
        assert mail.sendmail("a@localhost", ["b@localhost"], "hello\n" * 1000) == {}
    done = subprocess.run(["wrk", "-t1", "-c8", "-d1s", f"http://{HOST}:{PROXIES['web'][0]}/page"], capture_output=True, text=True)
    assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done


def slow_modes_break_nothing():
    rule("slow", target=list(PROXIES), delay="2ms", stream="both")
    rule("slice", target=list(PROXIES), mode="slice", piece=700, piece_jitter=300, pause="100us", stream="both")
    all_go_on()
    assert injected("slow") > 20 and injected("slice") > 20
    rule("slow")
    rule("slice")
    rule("narrow", target=list(PROXIES), mode="throttle", speed="4MiB", stream="both")
    rule("late-end", target=list(PROXIES), mode="slow-close", after="20ms", stream="both")
    all_go_on()
    assert injected("narrow") > 20 and injected("late-end") > 20
    rule("narrow")
    rule("late-end")


def each_error_of_pgbench_is_counted():
    for name, fields in {
        "reset": {"mode": "reset", "after": "400ms"},
        "truncate": {"mode": "truncate", "body": "6KiB"},
        "close": {"mode": "close", "after": "400ms"},
        "hang": {"mode": "hang", "after": "400ms", "close_after": "300ms"},
    }.items():
        rule(name, target="db", rate="50%", **fields)
        done = pgbench("-S", "-n", "-c", "20", "-T", "4")
        aborted = len(re.findall(r"client \d+ aborted", done.stderr))
        assert 0 < aborted < 20 and aborted == injected(name), (name, aborted, injected(name), done.stderr[:2000])
        rule(name)


def each_connection_that_fails_is_counted():
    """pgbench ends at the first connection that fails. A rule with `rate` acts after the connection was accepted."""
    for mode in ("refuse", "drop"):
        rule(mode, target="db", mode=mode, rate="99.9%")
        done = pgbench("-S", "-n", "-c", "1", "-t", "1")
        assert done.returncode != 0 and injected(mode) == 1, (mode, injected(mode), done)
        rule(mode)


def corrupted_bytes_arrive_and_are_counted():
    rule("corrupt", target="web", mode="corrupt", share="5%")
    command = ["curl", "-s", "--http0.9", "--max-time", "5", f"http://{HOST}:{PROXIES['web'][0]}/page"]
    done = subprocess.run(command, capture_output=True)
    assert done.stdout != b"x" * 5000 and injected("corrupt") == 1, (done.returncode, injected("corrupt"))
    rule("corrupt")


def each_error_of_redis_benchmark_is_counted():
    for name, fields in {
        "reset-cache": {"mode": "reset", "after": "150ms"},
        "truncate-cache": {"mode": "truncate", "body": "4KiB"},
    }.items():
        rule(name, target="cache", rate="50%", **fields)
        failed = sum(redis_benchmark_fails() for _ in range(10))
        assert 0 < failed < 10 and failed == injected(name), (name, failed, injected(name))
        rule(name)


def tls_that_begins_in_the_stream_passes():
    query = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()"
    address = f"host={HOST} port={PROXIES['db'][0]} user=postgres dbname=postgres sslmode=require"
    rule("slice", target="db", mode="slice", piece=3, pause="0s", stream="both")
    done = subprocess.run([BIN + "/psql", "-At", address, "-c", query], capture_output=True, text=True)
    rule("slice")
    assert done.stdout.startswith("t|TLS"), done


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        certificate(folder)
        proxies = ",".join(f"{name}={HOST}:{ours}->{theirs}" for name, (ours, theirs) in PROXIES.items())
        own = {"PROXIES": proxies, "UPSTREAM_CA_FILE": str(folder / "server.crt"), "SHUTDOWN_GRACE": "1s"}
        with MailServer((HOST, SMTP), Mail) as mail, postgres(folder), redis(folder), nginx(folder), service(**own):
            threading.Thread(target=mail.serve_forever, daemon=True).start()
            assert pgbench("-i", "-q").returncode == 0
            all_go_on()
            slow_modes_break_nothing()
            each_error_of_pgbench_is_counted()
            each_error_of_redis_benchmark_is_counted()
            each_connection_that_fails_is_counted()
            corrupted_bytes_arrive_and_are_counted()
            all_go_on()
            tls_that_begins_in_the_stream_passes()
            assert metric("probesim_limits_hit_total") == 0
    print("databases: ok")


if __name__ == "__main__":
    main()
