"""What the binary consists of, by its link map: by capability and by library."""

import re
from collections import Counter

from .. import machine
from ..stats import number
from ..table import markdown

TITLE = "What the binary consists of"
OWN, STD, OTHER = "kube_probesim", "std", "without a name"
STANDARD = {"std", "core", "alloc", "compiler_builtins", "hashbrown", "panic_unwind", "backtrace", "gimli", "addr2line", "object",
            "miniz_oxide", "rustc_demangle", "std_detect", "adler2", "memchr"}
PANICS = {"gimli", "addr2line", "object", "rustc_demangle", "backtrace"}

# A capability, its own modules and the libraries that only it needs. The first that fits counts.
CAPABILITIES = [
    ("`predict`, with the model of the kubelet", ["predict", "kubelet", "cli::predict"], []),
    ("TLS", ["tls"], ["rustls", "tokio_rustls", "ring", "webpki", "rcgen", "yasna", "untrusted", "rustls_pki_types"]),
    ("HTTP/2 and gRPC", ["grpc", "rpc"], ["h2", "tokio_util"]),
    ("`wait`, with the client of Kubernetes", ["cluster", "cli::wait"], []),
    ("plans and their merging", ["plan", "sources"], ["granit_parser", "serde_json", "serde_core", "serde"]),
    ("variables", ["env"], ["envy", "strsim"]),
    ("admin API, page", ["admin"], []),
    ("`probe`", ["prober", "cli::probe"], []),
    ("TCP proxies, toxiproxy's API", ["proxy::tcp", "proxy::toxiproxy", "cli::toxiproxy"], []),
    ("HTTP proxies", ["proxy"], []),
    ("`kubectl`, `inject`", ["cli::kubectl"], []),
    ("`attach`", ["attach", "cli::attach"], []),
    ("`fault`", ["cli::fault"], []),
    ("rules and draws", ["fault", "engine", "units"], ["libm", "rand", "rand_core"]),
    ("listener, HTTP, server, metrics, log", [""], []),
]

LINE = re.compile(r" *[0-9a-f]+ +[0-9a-f]+ +([0-9a-f]+) +[0-9]+( +)(\S.*)$")


def run(context):
    if not machine.LINK_MAP.exists():
        machine.say("the linker wrote no map: build anew")
        return {}
    return sizes(machine.LINK_MAP.read_text(errors="replace"))


def sizes(text):
    """Bytes by output section, and of code by crate; of our own by the two first modules."""
    outputs, crates, modules, current = {}, Counter(), Counter(), ""
    for line in text.splitlines():
        match = LINE.match(line)
        if not match:
            continue
        size, depth, what = int(match[1], 16), len(match[2]), match[3]
        if depth == 1:
            current = what
            outputs[current] = outputs.get(current, 0) + size
        elif depth == 9 and current.startswith(".text") and ":(" in what:
            file, _, section = what.rpartition(":(")
            path = readable(section.rstrip(")"))
            crate = crate_of(path) or library_of(file)
            crates[crate] += size
            if crate == OWN:
                modules["::".join(re.search(rf"\b{OWN}::((?:[a-z_0-9]+::){{0,2}})", path)[1].split("::")[:2]).strip(":")] += size
    return {"outputs": {name: size for name, size in outputs.items() if size and name.startswith(".")},
            "crates": dict(crates), "modules": dict(modules)}


def readable(section):
    """The path in the name of a section, such as `core::ptr::drop_in_place<kube_probesim::plan::Plan>`."""
    name = section.split(".", 2)[-1]
    if found := re.search(r"_ZN(.*)17h[0-9a-f]{16}E", name):
        rest, path = found[1], []
        while count := re.match(r"\d+", rest):
            end = count.end() + int(count[0])
            path.append(rest[count.end():end])
            rest = rest[end:]
        text = "::".join(path).replace("..", "::")
        for code, sign in (("$LT$", "<"), ("$GT$", ">"), ("$RF$", "&"), ("$C$", ","), ("$u20$", " "), ("$BP$", "*")):
            text = text.replace(code, sign)
        return text
    # The other mangling: the names of crates with their lengths.
    return " ".join(f"{name[:int(count)]}::" for count, name in re.findall(r"Cs[0-9A-Za-z]+_(\d+)_?([a-z_0-9]+)", name))


def crate_of(path):
    """The first crate in a path beside the standard library, since generic code counts for whom it was made for."""
    roots = re.findall(r"(?<![:\w])([a-z_][a-z_0-9]*)::", path)
    for root in roots:
        if root not in STANDARD:
            return root
    return (next((root for root in roots if root in PANICS), STD)) if roots else None


def library_of(file):
    """The library that an object without Rust's names comes from, such as ring's C and assembly."""
    found = re.search(r"lib([a-z_0-9]+)-[0-9a-f]+\.rlib", file)
    return found[1] if found else OTHER


def split(data):
    """Bytes of code by capability: our own, and those of the libraries that only it needs."""
    own, left = Counter(), dict(data["crates"])
    left.pop(OWN, None)
    for module, size in data["modules"].items():
        name = next(name for name, modules, _ in CAPABILITIES
                    if any(not prefix or module == prefix or module.startswith(f"{prefix}::") for prefix in modules))
        own[name] += size
    rows = []
    for name, _, libraries in CAPABILITIES:
        theirs = {library: left.pop(library) for library in libraries if library in left}
        rows.append((name, own[name], theirs))
    return rows, left


def capabilities(data):
    """The table by capability, in kB."""
    rows, left = split(data)
    lines = [[name, number(own / 1000), ", ".join(f"{library} {number(size / 1000)}" for library, size in theirs.items() if size > 500)]
             for name, own, theirs in rows]
    shared = sorted(left.items(), key=lambda crate: -crate[1])
    most = ", ".join(f"{name} {number(size / 1000)}" for name, size in shared if size >= 10_000)
    lines.append(["libraries that several need", "", most])
    lines.append(["smaller libraries", "", number(sum(size for _, size in shared if size < 10_000) / 1000)])
    rest = {"tables of unwinding": (".eh_frame", ".eh_frame_hdr", ".gcc_except_table"), "constants": (".rodata", ".data.rel.ro"),
            "all code": (".text", ".text.hot", ".text.warm", ".text.groups")}
    for name, outputs in rest.items():
        lines.append([name, number(sum(data["outputs"].get(output, 0) for output in outputs) / 1000), ""])
    return markdown(["capability, kB", "own code", "libraries that only it needs"], lines)


def report(data):
    outputs = markdown(["section", "kB"], [[f"`{name}`", number(size / 1000)] for name, size in
                                           sorted(data["outputs"].items(), key=lambda item: -item[1]) if size >= 1000])
    return f"""\
{capabilities(data)}
{outputs}
By the linker's map. Generic code of the standard library counts for the first crate in its name. Inlined code counts where it went, and
equal functions count once.
"""
