"""TLS with real software: curl, openssl, Go, grpcio, nginx, HAProxy and a browser, as clients and as servers.

Usage: tls.py BINARY [GO]
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from running import ADMIN, BINARY, PROBE, metric, service

HOST, PORT = "127.0.0.1", 18930
SECURE = f"https://localhost:{PORT}"
FRONT = 18943
STALLED = 2_000
PROXY_PORT = 18932
HERE = pathlib.Path(__file__).parent


def run(*command, text="", timeout=30):
    """The exit code and the whole output of a command."""
    done = subprocess.run(list(map(str, command)), input=text, capture_output=True, text=True, timeout=timeout)
    return done.returncode, done.stdout + done.stderr


class Authority:
    """An authority in a folder, which issues certificates with openssl."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.ca = self.folder / "ca.crt"
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
        self.openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=e2e CA")

    def openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def issue(self, name, *dates):
        """The files of a certificate for localhost, and of its key."""
        chain, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        (self.folder / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
        self.openssl("req", *curve, "-keyout", str(key), "-out", "request", "-subj", f"/CN={name}")
        dates = dates or ("-days", "2")
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-extfile", "san", "-in", "request", "-out", str(chain)]
        self.openssl("x509", "-req", *signed, *dates)
        return chain, key


def files(chain, key):
    """The variables of a certificate in files."""
    return {"TLS_CERT_FILE": str(chain), "TLS_KEY_FILE": str(key)}


def curl(*options, url=SECURE + "/healthz"):
    return run("curl", "--silent", "--show-error", "--max-time", "10", *options, url)


def curl_gets_either_protocol_in_either_version(authority, pair):
    with service(**files(*pair)):
        for protocol, version in (("--http1.1", "1.1"), ("--http2", "2")):
            for tls in (["--tls-max", "1.2"], ["--tlsv1.3"]):
                said = curl(protocol, *tls, "--cacert", authority.ca, "--write-out", " %{http_version} %{ssl_verify_result}")
                assert said == (0, f"ok {version} 0"), (protocol, tls, said)
        code, said = curl("--tlsv1.2")
        assert code == 60, ("without its authority", said)
        # HTTP/2 with prior knowledge, and HTTP/1.1, without TLS on the same port.
        for protocol in ("--http2-prior-knowledge", "--http1.1"):
            assert curl(protocol, url=PROBE + "/healthz") == (0, "ok")
    with service(TLS="self-signed", TLS_ONLY="true"):
        assert curl("--insecure") == (0, "ok")
        assert curl(url=PROBE + "/healthz")[1] == "this port requires TLS; use https://\n"
    with service():
        assert curl("--insecure")[0] == 35, "a handshake where TLS is off"


def build_go_client(folder):
    """Builds the client on Go's net/http, which only needs the standard library."""
    go = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "target/venv/bin/go").absolute()
    program = pathlib.Path(folder) / "go-client"
    settings = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOTELEMETRY": "off"}
    subprocess.run([go, "build", "-o", program, "."], cwd=HERE / "go-client", check=True, env=os.environ | settings)
    return program


def go_keeps_connections_of_either_protocol(authority, pair, go):
    plain = nginx_conf(authority.folder, "return 200 ok;", *pair)
    conf = authority.folder / "nginx.conf"
    conf.write_text(conf.read_text().replace("ssl http2;", ";"))
    with front(plain), service(**files(*pair), PROXIES=f"app=:{PROXY_PORT}->http://{HOST}:{FRONT}"):
        for port in (PORT, PROXY_PORT):
            for only, protocol in (("", "HTTP/2.0"), ("1.1", "HTTP/1.1"), ("1.2", "HTTP/2.0")):
                seen = json.loads(run(go, authority.ca, 5, f"https://localhost:{port}/healthz", only)[1])
                assert seen["connections"] == 1 and not seen["error"], (port, only, seen)
                assert all(answer.startswith(f"{protocol} 200") for answer in seen["answers"]), (port, only, seen)


def each_client_sees_each_fault_of_the_handshake(authority, go):
    client = ["openssl", "s_client", "-connect", f"{HOST}:{PORT}", "-servername", "localhost"]
    for mode, (of_openssl, of_curl, of_go) in {
        "tls-hang": (None, 28, "Client.Timeout exceeded"),
        "tls-close": ("unexpected eof while reading", 35, "EOF"),
        "tls-alert": ("alert handshake failure", 35, "remote error: tls: handshake failure"),
        "tls-expired": ("certificate has expired", 60, "certificate has expired or is not yet valid"),
        "tls-wrong-name": ("wrong-name.invalid", 60, "certificate is valid for wrong-name.invalid, not localhost"),
        "tls-untrusted": ("unknown CA", 60, "certificate signed by unknown authority"),
    }.items():
        faults = json.dumps({"faults": [{"name": "drill", "target": "listener", "mode": mode}]})
        with service(TLS="self-signed", FAULTS=faults):
            if of_openssl:
                said = run(*client, "-showcerts")[1]
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    raise AssertionError(run(*client, timeout=1))
            if mode == "tls-wrong-name":
                leaf = said[said.index("-----BEGIN") :]
                said = run("openssl", "x509", "-noout", "-ext", "subjectAltName", text=leaf)[1]
            assert not of_openssl or of_openssl in said, f"{mode}: {said}"
            code, said = curl("--cacert", authority.ca, "--max-time", "1")
            assert code == of_curl, (mode, code, said)
            assert metric("probesim_faults_injected_total", f'mode="{mode}"') == 2
        # A client that trusts the generated authority sees the flaw alone.
        with service(TLS="self-signed"):
            trusted = self_signed_authority(authority)
            assert json.loads(run(go, trusted, 1, SECURE + "/healthz")[1])["error"] == ""
            added = run(BINARY, "fault", "add", "listener", "--mode", mode, "--for", "5m", "--admin", ADMIN)
            assert added[0] == 0, added
            seen = json.loads(run(go, trusted, 1, SECURE + "/healthz")[1])
            assert of_go in seen["error"], (mode, seen)
            assert metric("probesim_faults_injected_total", f'mode="{mode}"') == 1
            # Requests without TLS are not affected.
            assert curl(url=PROBE + "/healthz") == (0, "ok")
    with service(TLS="self-signed"):
        said = run(*client, "-tls1_2", text="R\n")[1]
        assert "Secure Renegotiation IS" in said and "no renegotiation" in said.lower(), said
        for version, agreed in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
            said = run(*client, version)[1]
            assert ("Cipher is (NONE)" not in said) == agreed, said


def self_signed_authority(authority):
    """The file of the authority that a service with a generated certificate sends."""
    said = run("openssl", "s_client", "-connect", f"{HOST}:{PORT}", "-showcerts")[1]
    path = authority.folder / "generated.crt"
    path.write_text(said[said.rindex("-----BEGIN CERTIFICATE") : said.rindex("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n")
    return path


def clients_show_a_certificate(authority, pair):
    stranger = tempfile.mkdtemp(dir=authority.folder)
    other = Authority(stranger).issue("stranger")
    own = authority.issue("client")
    expired = authority.issue("expired", "-days", "-1")
    with service(**files(*pair), TLS_CLIENT_CA_FILE=str(authority.ca)):
        for version in (["--tls-max", "1.2"], ["--tlsv1.3"]):
            trusting = [*version, "--cacert", authority.ca]
            assert curl(*trusting, "--cert", own[0], "--key", own[1]) == (0, "ok")
            for wrong in (None, other, expired):
                code, said = curl(*trusting, *(("--cert", wrong[0], "--key", wrong[1]) if wrong else ()))
                # curl has several codes for the alerts.
                assert code in (35, 56, 60, 98), (version, wrong, code, said)
        assert metric("probesim_tls_handshakes_total", 'result="failed"') == 6


def certificates_are_read_again(authority):
    chain, key = authority.issue("first")
    second, expired = authority.issue("second"), authority.issue("old", "-days", "-1")
    other = authority.issue("other")

    def shown():
        context = ssl.create_default_context(cafile=authority.ca)
        with socket.create_connection((HOST, PORT)) as plain, context.wrap_socket(plain, server_hostname="localhost") as tls:
            return dict(pair[0] for pair in tls.getpeercert()["subject"])["commonName"]

    def exchange(new_chain, new_key):
        for new, old in ((new_chain, chain), (new_key, key)):
            staged = old.with_suffix(".new")
            shutil.copy(new, staged)
            os.replace(staged, old)

    def refused(count):
        until = time.monotonic() + 10
        while metric("probesim_tls_certificate_reloads_total", 'result="error"') < count:
            assert time.monotonic() < until, f"{count} refused certificates are not counted"
            time.sleep(0.1)
        assert shown() == "first", count

    with service(**files(chain, key)):
        assert shown() == "first"
        empty = authority.folder / "empty"
        empty.touch()
        for number, bad in enumerate(((second[0], other[1]), expired, (empty, empty))):
            exchange(*bad)
            refused(number + 1)
        # A directory in place of the file.
        chain.unlink()
        chain.mkdir()
        refused(4)
        chain.rmdir()
        # Written in parts, the key after the certificate.
        with open(chain, "w") as slow:
            for line in second[0].read_text().splitlines(keepends=True):
                slow.write(line)
                slow.flush()
                time.sleep(0.02)
        shutil.copy(second[1], key)
        until = time.monotonic() + 10
        while shown() != "second":
            assert time.monotonic() < until, "the new certificate is not shown"
            time.sleep(0.2)
        assert metric("probesim_tls_certificate_reloads_total", 'result="ok"') == 1


def stalled_handshakes_leave_others_alone():
    with service(TLS="self-signed", HEAD_TIMEOUT="3s"), contextlib.ExitStack() as held:
        for number in range(STALLED):
            stalled = held.enter_context(socket.create_connection((HOST, PORT)))
            # The start of a record, or a complete one without a successor.
            stalled.sendall(b"\x16\x03\x01\x02\x00\x01\x00"[: 1 + number % 7])
        began = time.monotonic()
        for _ in range(20):
            assert curl("--insecure") == (0, "ok") and curl(url=PROBE + "/healthz") == (0, "ok")
        assert time.monotonic() - began < 10, "others wait"
        until = time.monotonic() + 15
        while metric("probesim_limits_hit_total", 'limit="head_time"') < STALLED:
            assert time.monotonic() < until, metric("probesim_limits_hit_total", 'limit="head_time"')
            time.sleep(0.2)
        assert metric("probesim_connections") < 10


def grpcio_asks_over_tls(authority, pair):
    trusted = grpc.ssl_channel_credentials(authority.ca.read_bytes())

    def check(name, deadline=1.5):
        with grpc.secure_channel(f"localhost:{PORT}", trusted) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                return stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=deadline).status
            except grpc.RpcError as raised:
                return raised.code().name

    with service(**files(*pair)):
        assert [check(name) for name in ("", "liveness", "nobody")] == [1, 1, "NOT_FOUND"]
        with grpc.secure_channel(f"localhost:{PORT}", trusted) as channel:
            listed = health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest(), timeout=5).statuses
        assert sorted(listed) == ["", "dependency", "liveness", "readiness", "startup"], listed
    for rule, sees in (
        ({"mode": "status", "status": 503}, {2}),
        ({"mode": "close"}, {"CANCELLED"}),
        ({"mode": "reset"}, {"INTERNAL"}),
        ({"mode": "hang"}, {"DEADLINE_EXCEEDED"}),
        ({"mode": "garbage"}, {"UNAVAILABLE", "UNKNOWN"}),
        ({"mode": "grpc", "grpc_status": "ABORTED"}, {"ABORTED"}),
    ):
        faults = json.dumps({"faults": [{"name": "drill", "target": "liveness", **rule}]})
        with service(**files(*pair), FAULTS=faults):
            seen = check("liveness")
            assert seen in sees, f"{rule}: {seen}"
    # A `Watch` stream ends during the drain.
    with concurrent.futures.ThreadPoolExecutor(1) as pool, grpc.secure_channel(f"localhost:{PORT}", trusted) as channel:
        with service(**files(*pair), SHUTDOWN_GRACE="5s"):
            states = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="liveness"), timeout=20)
            assert next(states).status == 1
            ended = pool.submit(lambda: [state.status for state in states])
        try:
            ended.result(5)
            raise AssertionError("it ended without a status")
        except grpc.RpcError as raised:
            assert raised.code() == grpc.StatusCode.UNAVAILABLE, raised


def our_probe_asks_grpcio(authority, pair):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    servicer = health.HealthServicer()
    servicer.set("down", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    credentials = grpc.ssl_server_credentials([(pair[1].read_bytes(), pair[0].read_bytes())])
    port = server.add_secure_port(f"{HOST}:0", credentials)
    server.start()
    try:
        for words, code, said in (
            ([f"grpcs://localhost:{port}"], 0, "success"),
            ([f"grpcs://localhost:{port}", "--ca", authority.ca], 0, "success"),
            ([f"grpcs://localhost:{port}/down"], 1, "NOT_SERVING"),
            ([f"grpc://localhost:{port}"], 1, ""),
        ):
            got = run(BINARY, "probe", *words)
            assert got[0] == code and said in got[1], (words, got)
        # The service stands before it, with TLS on both sides.
        with service(**files(*pair), UPSTREAM=f"https://localhost:{port}", UPSTREAM_CA_FILE=str(authority.ca)):
            trusted = grpc.ssl_channel_credentials(authority.ca.read_bytes())
            with grpc.secure_channel(f"localhost:{PORT}", trusted) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                assert stub.Check(health_pb2.HealthCheckRequest(service="down"), timeout=5).status == 2
            assert metric("probesim_upstream_errors_total") == 0
    finally:
        server.stop(None)


@contextlib.contextmanager
def front(command):
    """Starts another server, and waits until it listens."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, FRONT), timeout=1).close()
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def nginx_conf(folder, location, chain, key):
    path = folder / "nginx.conf"
    temporary = " ".join(f"{kind}_temp_path {kind[0]};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    path.write_text(f"""daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr; events {{}}
http {{ access_log off; {temporary}
  server {{ listen {HOST}:{FRONT} ssl http2; ssl_certificate {chain}; ssl_certificate_key {key};
    location / {{ {location} }} }} }}""")
    return ["nginx", "-p", folder, "-c", path]


def haproxy_conf(folder, authority):
    path = folder / "haproxy.cfg"
    path.write_text(f"""defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
listen all
  bind {HOST}:{FRONT}
  server us {HOST}:{PORT} ssl verify required ca-file {authority.ca} verifyhost localhost alpn h2,http/1.1
""")
    return ["haproxy", "-f", path]


def nginx_and_haproxy_verify_us(authority, pair):
    verified = f"proxy_pass https://{HOST}:{PORT}; proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_server_name on; "
    verified += f"proxy_ssl_trusted_certificate {authority.ca};"
    for name, command, url in (
        ("nginx", nginx_conf(authority.folder, verified, *pair), f"https://localhost:{FRONT}/healthz"),
        ("haproxy", haproxy_conf(authority.folder, authority), f"http://localhost:{FRONT}/healthz"),
    ):
        with service(**files(*pair)), front(command):
            for _ in range(10):
                assert curl("--cacert", authority.ca, url=url) == (0, "ok"), name
    # nginx behind us chooses HTTP/2 or HTTP/1.1, as it is configured.
    for http2 in (True, False):
        command = nginx_conf(authority.folder, "return 200 $server_protocol;", *pair)
        if not http2:
            path = authority.folder / "nginx.conf"
            path.write_text(path.read_text().replace("ssl http2;", "ssl;"))
        with front(command), service(UPSTREAM=f"https://localhost:{FRONT}", UPSTREAM_CA_FILE=str(authority.ca)):
            expected = "HTTP/2.0" if http2 else "HTTP/1.1"
            for _ in range(3):
                assert curl(url=PROBE + "/x") == (0, expected)
            assert metric("probesim_upstream_errors_total") == 0


def a_browser_loads_a_page(folder):
    with service(TLS="self-signed"):
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", f"--user-data-dir={folder}/chromium"]
        said = run("chromium", *options, "--dump-dom", SECURE + "/", timeout=60)[1]
        assert "kube-probesim" in said, said[-2000:]


def main():
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(folder)
        pair = authority.issue("server")
        go = build_go_client(folder)
        for step, arguments in (
            (curl_gets_either_protocol_in_either_version, (authority, pair)),
            (go_keeps_connections_of_either_protocol, (authority, pair, go)),
            (each_client_sees_each_fault_of_the_handshake, (authority, go)),
            (clients_show_a_certificate, (authority, pair)),
            (certificates_are_read_again, (authority,)),
            (stalled_handshakes_leave_others_alone, ()),
            (grpcio_asks_over_tls, (authority, pair)),
            (our_probe_asks_grpcio, (authority, pair)),
            (nginx_and_haproxy_verify_us, (authority, pair)),
            (a_browser_loads_a_page, (authority.folder,)),
        ):
            began = time.monotonic()
            step(*arguments)
            print(f"{step.__name__.replace('_', ' ')}: {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
