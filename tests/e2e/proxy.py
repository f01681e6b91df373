"""The proxy between real software: nginx and Python servers behind it, whose address changes; wrk, a browser,
WebSocket and event streams as clients.

Usage: proxy.py BINARY [MIB]    MIB is the size of the large bodies, 512 unless given
"""

import contextlib
import http.client
import http.server
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import websockets.sync.client
import websockets.sync.server
from running import PROBE, metric, service

HOST = "127.0.0.1"
NGINX_PORT, EVENTS_PORT, WEB_SOCKET_PORT = 18942, 18943, 18944
LARGE_MIB = int(sys.argv[2]) if len(sys.argv) > 2 else 512


@contextlib.contextmanager
def nginx(folder):
    """Debian's nginx, with one file and one body of the requested size."""
    page = '<!doctype html><title>whole</title><script src="/a.js"></script><img src="/a.svg">'
    (folder / "index.html").write_text(page + "<p id=p></p>" + "x" * 100_000)
    (folder / "a.js").write_text("addEventListener('load', () => { document.title = 'loaded ' + document.images[0].naturalWidth; })")
    (folder / "live.html").write_text("""<!doctype html><title>waiting</title><img src="/slow.svg"><script>
      const seen = new Set(), done = (what) => { if (seen.add(what).size == 2) document.title = 'live'; };
      const socket = new WebSocket(`ws://${location.host}/ws`), events = new EventSource('/events');
      socket.onopen = () => socket.send('ping');
      socket.onmessage = (message) => { if (message.data == 'ping') done('socket'); };
      events.onmessage = (message) => { if (message.data == '5') { events.close(); done('events'); } };
    </script>""")
    (folder / "a.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"></svg>')
    with open(folder / "large", "wb") as large:
        large.truncate(LARGE_MIB << 20)
    (folder / "nginx.conf").write_text(f"""
daemon off; master_process off; pid nginx.pid; error_log stderr; events {{}}
http {{
  access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  types {{ text/html html; text/javascript js; image/svg+xml svg; }} gzip on; keepalive_requests 1000000;
  server {{
    listen {HOST}:{NGINX_PORT}; root {folder}; client_max_body_size 0; large_client_header_buffers 4 64k;
    location /ws {{
      proxy_pass http://{HOST}:{WEB_SOCKET_PORT}; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
    }}
    location ~ ^/(events|upload|slow.svg)$ {{
      proxy_pass http://{HOST}:{EVENTS_PORT}; proxy_buffering off; proxy_request_buffering off;
    }}
  }}
}}""")
    process = subprocess.Popen(["/usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                http.client.HTTPConnection(HOST, NGINX_PORT, timeout=1).connect()
                break
            time.sleep(0.05)
        yield f"http://{HOST}:{NGINX_PORT}"
    finally:
        process.terminate()
        process.wait()


def wrk_gets_nothing_but_200():
    command = ["wrk", "-t1", "-c32", "-d3s", PROBE + "/a.js"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in said and "Socket errors" not in said, said
    assert metric("probesim_upstream_errors_total") == 0


def dom(path):
    """A page as Chromium shows it."""
    with tempfile.TemporaryDirectory() as profile:
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        return subprocess.run([*command, "--dump-dom", PROBE + path], capture_output=True, text=True, timeout=60).stdout


def a_browser_shows_the_page():
    said = dom("/")
    assert "<title>loaded 7</title>" in said, said[:300]


def a_browser_uses_web_sockets_and_events():
    with applications():
        said = dom("/live.html")
    assert "<title>live</title>" in said, said[:300]


def leaves_memory_flat(transfer):
    before = metric("process_resident_memory_bytes")
    peak = []
    done = threading.Event()

    def watch():
        while not done.wait(0.1):
            peak.append(metric("process_resident_memory_bytes"))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        size = transfer(http.client.HTTPConnection(HOST, 18930, timeout=60))
    finally:
        done.set()
        watching.join()
    assert size == LARGE_MIB << 20, size
    grown = max(peak, default=before) - before
    assert grown < 2 << 20, f"{grown} bytes more"
    return f"{grown / 1024:.0f} KiB more for {LARGE_MIB} MiB"


def a_large_download_leaves_memory_flat():
    def download(connection):
        connection.request("GET", "/large")
        answer, size = connection.getresponse(), 0
        while piece := answer.read(1 << 20):
            size += len(piece)
        return size

    return leaves_memory_flat(download)


def a_large_upload_leaves_memory_flat():
    def upload(connection):
        piece = b"x" * (1 << 20)
        connection.request("POST", "/upload", body=(piece for _ in range(LARGE_MIB)), headers={"Content-Length": str(LARGE_MIB << 20)})
        return int(connection.getresponse().read())

    with applications():
        return leaves_memory_flat(upload)


class Application(http.server.BaseHTTPRequestHandler):
    """Events, one after another, and the length of what is uploaded."""

    def do_GET(self):
        if self.path == "/slow.svg":
            time.sleep(2)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        # A browser leaves as soon as it has seen enough.
        with contextlib.suppress(BrokenPipeError):
            for number in range(0 if self.path == "/slow.svg" else 20):
                self.wfile.write(f"data: {number}\n\n".encode())
                self.wfile.flush()
                time.sleep(0.1)

    def do_POST(self):
        left = length = int(self.headers["content-length"])
        while left and (piece := self.rfile.read(min(left, 1 << 20))):
            left -= len(piece)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(length - left).encode())

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def applications(host=HOST):
    """Servers of events and WebSockets."""

    def echo(socket):
        for message in socket:
            socket.send(message)

    events = http.server.ThreadingHTTPServer((host, EVENTS_PORT), Application)
    with websockets.sync.server.serve(echo, host, WEB_SOCKET_PORT) as sockets:
        for server in (events, sockets):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            events.shutdown()
            events.server_close()
            sockets.shutdown()


def events_come_at_once():
    with applications(), service(UPSTREAM=f"http://{HOST}:{EVENTS_PORT}", IDLE_TIMEOUT="1s"):
        connection = http.client.HTTPConnection(HOST, 18930, timeout=10)
        connection.request("GET", "/events")
        answer, began, late = connection.getresponse(), time.monotonic(), 0.0
        for number in range(20):
            assert answer.readline() == b"data: %d\n" % number and answer.readline() == b"\n"
            late = max(late, time.monotonic() - began - number * 0.1)
        assert late < 1, late


def web_sockets_go_through():
    with applications(), service(UPSTREAM=f"http://{HOST}:{WEB_SOCKET_PORT}", IDLE_TIMEOUT="1s"):
        with websockets.sync.client.connect("ws://127.0.0.1:18930/ws") as socket:
            for size in (0, 1, 125, 126, 70_000, 900_000):
                socket.send(b"x" * size)
                assert socket.recv() == b"x" * size
            # Longer than other connections may be idle.
            time.sleep(1.5)
            socket.send("late")
            assert socket.recv() == "late"


def an_address_that_changes_is_followed():
    """The service has a hosts file of its own, which takes the place of a DNS server."""
    def answer():
        connection = http.client.HTTPConnection(HOST, 18930, timeout=10)
        connection.request("POST", "/upload", body=b"x")
        answer = connection.getresponse()
        return answer.status, answer.getheader("x-probesim-upstream-error"), answer.read()

    with tempfile.NamedTemporaryFile("w") as hosts:
        def point_to(line):
            hosts.seek(0)
            hosts.truncate()
            hosts.write(line)
            hosts.flush()

        mounted = ["unshare", "--mount", "sh", "-c", f"mount --bind {hosts.name} /etc/hosts && exec {sys.argv[1]}"]
        point_to("127.0.0.2 shop\n")
        with service(mounted, UPSTREAM=f"http://shop:{EVENTS_PORT}"):
            with applications("127.0.0.2"):
                assert answer() == (200, None, b"1")
            assert answer()[:2] == (502, "refused")
            point_to("\n")
            assert answer()[:2] == (502, "dns")
            point_to("127.0.0.3 shop\n")
            with applications("127.0.0.3"):
                assert answer() == (200, None, b"1")
            assert metric("probesim_upstream_errors_total") == 2


with tempfile.TemporaryDirectory() as folder, nginx(pathlib.Path(folder)) as upstream, service(UPSTREAM=upstream):
    os.chmod(folder, 0o755)
    for check in (
        wrk_gets_nothing_but_200,
        a_browser_shows_the_page,
        a_browser_uses_web_sockets_and_events,
        a_large_download_leaves_memory_flat,
        a_large_upload_leaves_memory_flat,
    ):
        print(f"{check.__name__}: {check() or 'ok'}")
for check in (events_come_at_once, web_sockets_go_through, an_address_that_changes_is_followed):
    print(f"{check.__name__}: {check() or 'ok'}")
