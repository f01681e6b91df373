"""The functions that a start and probes run lie together, and so do those of attach, of proxies and of TLS: .cargo/hot.ld lists them.

    hot.py check LINK_MAP     nearly every pattern of the script places something (a map as lld's -Map writes it)
    hot.py update BINARY      writes the script anew; BINARY has symbols, and valgrind is installed

A build with symbols, whose names have the same hashes as those of the release:
    cargo rustc --release --target x86_64-unknown-linux-musl --bin kube-probesim -- -C strip=none
"""

import bisect
import collections
import contextlib
import fnmatch
import http.client
import http.server
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SCRIPT = pathlib.Path(__file__).parents[2] / ".cargo" / "hot.ld"

HEAD = """\
/* The kernel maps code in pieces of 64 KiB or more. So the functions that a start and probes run lie together, and the rest
   does not become resident: what a start and probes run, then what attach, TLS, gRPC, proxies and rules run besides, each by
   the hash in its name; last, groups of functions by name, which a start and probes run in builds with other hashes. Written by
   `tests/e2e/hot.py update`; its `check` fails if many groups match nothing. cargo does not look at this file: touch src/main.rs
   after a change. */

SECTIONS
{
  .text.hot :
  {
    *crt1.o(.text)
    *libc.a:*(.text)
"""

TAIL = """\
  }
}
INSERT BEFORE .text;
"""

WARM_SECTION = """\
  }
  .text.warm :
  {
"""

GROUPS_SECTION = """\
  }
  .text.groups :
  {
"""

# The bytes of unused code that a separate pattern must save.
WORTH = 100

# The share of patterns that may match nothing: functions that are folded into equal ones are not in the map.
LEEWAY = 0.15

# The hash of a function's types and of its crate at the end of its name.
HASH = re.compile(r"(17h[0-9a-f]{16}E)")

PATHS = ["/healthz", "/readyz", "/startupz", "/dependency", "/metrics", "/"]
PORT = 27180
APPLICATION = PORT + 2

RULES = """
faults:
  - {name: status, target: liveness, mode: status, rate: 50%}
  - {name: late, target: readiness, delay: {fixed: 1ms, jitter: 1ms}}
  - {name: matched, target: traffic, mode: status, match: {path: /fails, headers: {x-team: a}}}
  - {name: later, target: dependency, mode: hang, when: {after: 1h}}
"""


def probes(binary):
    """A probe of each kind and two scrapes."""
    ask(PORT, PATHS)
    ask(PORT + 1, ["/healthz", "/metrics"])


def encrypted(binary):
    for probe in ["https://127.0.0.1:{}/healthz", "grpcs://127.0.0.1:{}", "grpc://127.0.0.1:{}", "http://127.0.0.1:{}/healthz"]:
        for _ in range(2):
            subprocess.run([binary, "probe", probe.format(PORT)], stdout=subprocess.DEVNULL)


def forwarded(binary):
    ask(PORT, [*PATHS, "/orders"])


def faulted(binary):
    ask(PORT, [*PATHS, "/orders", "/fails"])
    ask(PORT, ["/orders"], "POST", b"two boots")
    ask(PORT + 3, ["/orders"])


def taken_over(binary):
    """A request through `attach`."""
    connect(PORT + 1).close()
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        # Nothing is sent: it only has an address that is not of loopback.
        probe.connect(("192.0.2.1", 9))
        ask(PORT, ["/orders"], host=probe.getsockname()[0])


# Of each kind of value one or two, so that their parsers run.
USUAL = {"LOG_LEVEL": "info", "SEED": "42", "BIND_ADDRESS": "127.0.0.1", "IDLE_TIMEOUT": "2m", "MAX_CONNECTIONS": "1000",
         "POD_NAME": "web-0", "FAILURE_RATE": "0", "LATENCY": "0"}

# What a run has set beside ports, what it is asked, and its arguments.
HOT = (USUAL, probes)
UPSTREAM = {"UPSTREAM": f"http://127.0.0.1:{APPLICATION}"}
FORWARDED = (UPSTREAM, forwarded)
ENCRYPTED = ({"TLS": "self-signed"}, encrypted)
TCP = f"orders=127.0.0.1:{PORT + 3}->127.0.0.1:{APPLICATION}"
FAULTED = ({**UPSTREAM, "PROXIES": TCP, "FAULTS": RULES}, faulted)
# The application shares its port itself: valgrind cannot copy the sockets of other processes.
ATTACHED = ({}, taken_over, "attach", f"--port={PORT}", f"--admin=127.0.0.1:{PORT + 1}")


def executed(binary, environment, asks, *arguments):
    """The addresses of instructions that a start and these requests run."""
    with tempfile.NamedTemporaryFile() as out:
        tool = ["valgrind", "--tool=callgrind", "--dump-instr=yes", "--compress-pos=no", f"--callgrind-out-file={out.name}"]
        own = {"PORT": str(PORT), "ADMIN_ADDRESS": f"127.0.0.1:{PORT + 1}", **environment}
        service = subprocess.Popen([*tool, binary, *arguments], env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            connect(PORT).close()
            asks(binary)
            time.sleep(2)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait()
        lines = pathlib.Path(out.name).read_text(errors="replace").splitlines()
    return sorted(int(line.split(" ", 1)[0], 16) for line in lines if line.startswith("0x"))


def connect(port, host="127.0.0.1"):
    for _ in range(100):
        try:
            connection = http.client.HTTPConnection(host, port, timeout=10)
            connection.connect()
            return connection
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


def ask(port, paths, method="GET", body=None, host="127.0.0.1"):
    connection = connect(port, host)
    for path in paths:
        connection.request(method, path, body, headers={"User-Agent": "kube-probe/1.36"})
        connection.getresponse().read()
    connection.close()


@contextlib.contextmanager
def application(address):
    """An HTTP server behind proxies."""
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_POST = do_GET

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        allow_reuse_port = True

    server = Server(address, Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def functions(binary):
    """Address, size and name of each function."""
    lines = subprocess.run(["nm", "-S", binary], capture_output=True, text=True, check=True).stdout.splitlines()
    fields = [line.split() for line in lines]
    return [(int(f[0], 16), int(f[1], 16), f[3]) for f in fields if len(f) == 4 and f[2] in "tTwW"]


def parts(name):
    """The parts of a mangled name, for patterns from coarse to fine."""
    name = re.sub(r"\.[0-9]+$", "", name)
    if found := re.fullmatch(r"_ZN(.*)17h[0-9a-f]{16}E.*", name):
        rest, path = found[1], []
        while count := re.match(r"\d+", rest):
            end = count.end() + int(count[0])
            path.append(rest[:end])
            rest = rest[end:]
        # The path of a type within a name: of an implementation, or of a dropped value.
        of_type = re.match(r"\d+(_?\$LT\$)([a-z].*)", path[0]) or re.match(r"\d+(drop_in_place\$LT\$)([a-z].*)", path[-1])
        if of_type:
            return ["_ZN*" + of_type[1], *re.findall(r"[a-z_0-9]+\.\.|.+", of_type[2]), *path[path.index(of_type[0]) + 1 :], "17h"]
        return ["_ZN", *path, "17h"]
    # The other mangling has a hash with each name of a crate.
    return [re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", name)[:100]]


class Node:
    def __init__(self):
        self.children, self.all, self.hot = {}, 0, 0


def chosen(node, prefix=""):
    """The patterns that cover the executed functions below a node, and the size of other functions that they match."""
    if not node.hot:
        return 0, []
    each = [chosen(child, prefix + part) for part, child in node.children.items()]
    cost, patterns = sum(cost for cost, _ in each), [pattern for _, found in each for pattern in found]
    whole = node.all - node.hot + WORTH
    return (whole, [prefix]) if prefix and (not node.children or whole <= cost) else (cost, patterns)


def update(binary):
    known = sorted(functions(binary))

    def run_by(*how):
        run = executed(binary, *how)

        def is_run(address, size):
            index = bisect.bisect_left(run, address)
            return index < len(run) and run[index] < address + size

        return {address for address, size, _ in known if is_run(address, size)}

    hot = run_by(*HOT)
    with application(("127.0.0.1", APPLICATION)):
        by_proxy, by_tls, by_rules = [run_by(*run) - hot for run in [FORWARDED, ENCRYPTED, FAULTED]]
    with application(("0.0.0.0", PORT)):
        by_attach = run_by(*ATTACHED) - hot
    # What runs with an upstream lies together, and what runs with TLS.
    warm = [by_proxy - by_tls, by_proxy & by_tls, by_tls - by_proxy]
    warm.append(by_rules - by_proxy - by_tls)
    warm.append(by_attach - by_rules - by_proxy - by_tls)
    root = Node()
    names = collections.Counter(address for address, _, _ in known)
    for address, size, name in known:
        node, share = root, size / names[address]
        for part in [None, *parts(name)]:
            node = node.children.setdefault(part, Node()) if part else root
            node.all += share
            node.hot += share if address in hot else 0
    _, patterns = chosen(root)

    def by_hash(addresses):
        hashes = {found[1] for address, _, name in known if address in addresses and (found := HASH.search(name))}
        # A copy of a function has a number after its name.
        return [f"    *(.text.*{name}*)\n" for name in sorted(hashes)]

    exact, others = by_hash(hot), [line for addresses in warm for line in by_hash(addresses)]
    # A function that is marked as cold is in `.text.unlikely.NAME`.
    lines = [f"    *(.text.{f'*{p}*' if p.startswith('_') else p})\n" for p in sorted(set(patterns))]
    # Names without a hash are those of C and of the standard library.
    groups = [line for line in lines if "_ZN" in line]
    exact += [line for line in lines if line not in groups]
    SCRIPT.write_text("".join([HEAD, *exact, WARM_SECTION, *others, GROUPS_SECTION, *groups, TAIL]))
    print(f"{len(exact)} functions, {len(groups)} groups; {len(others)} functions of attach, TLS and proxies")


def patterns():
    """The patterns without a hash, which outlive a change."""
    found = re.findall(r"\*\((\S+)\)", re.sub(r"/\*.*?\*/", "", SCRIPT.read_text(), flags=re.DOTALL))
    return [pattern for pattern in found if not HASH.search(pattern)]


def placed(path):
    """The input sections of each output section of a link map."""
    sections, current = collections.defaultdict(list), None
    for line in pathlib.Path(path).read_text().splitlines():
        # Address, address, size and alignment; then an output section at once, or an input section further in.
        if match := re.match(r" +[0-9a-f]+ +[0-9a-f]+ +[0-9a-f]+ +[0-9]+ (\.\S+)$", line):
            current = match[1]
        elif match := re.match(r" +[0-9a-f]+ +[0-9a-f]+ +[0-9a-f]+ +[0-9]+ {9}\S.*:\((.*)\)$", line):
            sections[current].append(match[1])
    return sections


def check(path):
    sections, found = placed(path), patterns()
    if not found or not sections[".text"]:
        sys.exit("the script or the map cannot be read")
    idle = [pattern for pattern in found if not fnmatch.filter(sections[".text.hot"] + sections[".text.groups"], pattern)]
    if len(idle) > LEEWAY * len(found):
        sys.exit(f"{len(idle)} of {len(found)} patterns match nothing; hot.py update BINARY:\n  " + "\n  ".join(idle))
    print(f"{len(found) - len(idle)} of {len(found)} patterns place something")


{"check": check, "update": update}[sys.argv[1]](sys.argv[2])
