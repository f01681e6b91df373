"""Unchanged client libraries of toxiproxy, against `kube-probesim toxiproxy` with its defaults.

Usage: toxiproxy_clients.py BINARY
"""

import json
import os
import pathlib
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from running import until_it_answers
from toxiproxy import Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

HERE = pathlib.Path(__file__).parent
API = "http://localhost:8474"


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass


def echo(listen):
    """The duration of an echo in seconds."""
    host, port = listen.rsplit(":", 1)
    began = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=3) as client:
        client.sendall(b"ping")
        # A slicer may let it come back in pieces.
        answer = b""
        while len(answer) < 4 and (piece := client.recv(16)):
            answer += piece
        assert answer == b"ping"
    return time.monotonic() - began


def fails(call, *errors):
    try:
        call()
    except errors:
        return
    raise AssertionError("it did not fail")


def python_client(upstream):
    toxiproxy = Toxiproxy()
    assert toxiproxy.running() and b"2." in toxiproxy.version()
    proxy = toxiproxy.create(name="python_proxy", upstream=upstream)
    fails(lambda: toxiproxy.create(name="python_proxy", upstream=upstream), ProxyExists)
    echo(proxy.listen)
    proxy.add_toxic(type="latency", attributes={"latency": 100, "jitter": 0})
    toxic = proxy.get_toxic("latency_downstream")
    assert (toxic.type, toxic.stream, toxic.toxicity, toxic.attributes["latency"]) == ("latency", "downstream", 1, 100)
    assert echo(proxy.listen) >= 0.1
    assert proxy.destroy_toxic("latency_downstream") and proxy.toxics() == {}
    fails(lambda: proxy.destroy_toxic("latency_downstream"), NotFound)
    fails(lambda: proxy.add_toxic(type="fog"), InvalidToxic)
    for kind, attributes in {
        "bandwidth": {"rate": 1000},
        "slow_close": {"delay": 10},
        "slicer": {"average_size": 2, "size_variation": 1, "delay": 10},
    }.items():
        proxy.add_toxic(type=kind, stream="upstream", toxicity=0.5, attributes=attributes)
        assert proxy.get_toxic(kind + "_upstream").attributes == attributes
    echo(proxy.listen)
    assert toxiproxy.reset() and proxy.toxics() == {}
    for kind, attributes in {"timeout": {"timeout": 50}, "reset_peer": {"timeout": 50}, "limit_data": {"bytes": 0}}.items():
        proxy.add_toxic(type=kind, name="end", attributes=attributes)
        fails(lambda: echo(proxy.listen), OSError, AssertionError)
        proxy.destroy_toxic("end")
    with proxy.down():
        assert toxiproxy.get_proxy("python_proxy").enabled is False
        fails(lambda: echo(proxy.listen), OSError)
    echo(proxy.listen)
    populated = toxiproxy.populate([{"name": name, "upstream": upstream, "listen": "127.0.0.1:0"} for name in ("one", "two")])
    assert [proxy.name for proxy in populated] == ["one", "two"]
    assert sorted(toxiproxy.proxies()) == ["from_file", "one", "python_proxy", "two"]
    toxiproxy.destroy_all()
    assert toxiproxy.proxies() == {}
    print("toxiproxy-python: ok")


def build_rust_client():
    """The path of the trial of toxiproxy_rust. Debian's libssl-dev and pkg-config are needed."""
    target = HERE.parents[1] / "target/toxiproxy-rust"
    environment = os.environ | {"CARGO_TARGET_DIR": str(target), "CARGO_PROFILE_DEV_DEBUG": "0"}
    manifest = HERE / "toxiproxy/rust/Cargo.toml"
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--manifest-path", manifest], env=environment, check=True)
    return target / "debug/toxiproxy-client-trial"


def main():
    rust = build_rust_client()
    with Server(("127.0.0.1", 0), Echo) as server, tempfile.TemporaryDirectory() as folder:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        upstream = "127.0.0.1:%d" % server.server_address[1]
        config = pathlib.Path(folder, "toxiproxy.json")
        config.write_text(json.dumps([{"name": "from_file", "listen": "localhost:0", "upstream": upstream}]))
        command = [sys.argv[1], "toxiproxy", "-config", config]
        process = subprocess.Popen(command, env={"PATH": os.environ["PATH"]}, stdout=subprocess.DEVNULL)
        try:
            until_it_answers(API + "/version")
            echo(json.load(urllib.request.urlopen(API + "/proxies/from_file"))["listen"])
            browser = urllib.request.Request(API + "/proxies", headers={"User-Agent": "Mozilla/5.0"})
            fails(lambda: urllib.request.urlopen(browser), urllib.error.HTTPError)
            python_client(upstream)
            subprocess.run(["node", HERE / "toxiproxy/client.mjs", API, upstream], check=True)
            subprocess.run([rust, "127.0.0.1:8474", upstream], check=True)
        finally:
            process.terminate()
            assert process.wait(timeout=30) == 0, process.returncode


main()
