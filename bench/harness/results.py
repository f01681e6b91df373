"""Raw figures as JSON, and the report made of them."""

import json
from datetime import UTC, datetime

from . import goals, machine, sections


def merged(file, fresh, quick):
    """The figures of a file, with those of the fresh sections replaced."""
    old = json.loads(file.read_text()) if file.exists() else {"sections": {}}
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    for name, section in fresh.items():
        old["sections"][name] = {"taken": now, "revision": machine.revision(), "quick": quick,
                                 "machine": machine.description(), **section}
    return {"sections": {name: old["sections"][name] for name in sections.ALL if name in old["sections"]}}


def write(directory, results):
    """Writes results.json and RESULTS.md."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (directory / "RESULTS.md").write_text(report(results))
    for name, section in results["sections"].items():
        pictures = getattr(sections.ALL[name], "plots", None)
        for file, text in (pictures(section["data"]) if pictures and section["data"] else {}).items():
            (directory / file).write_text(text)


def report(results):
    """The whole report."""
    taken = results["sections"]
    parts = ["# Measurements\n", """\
Written by `bench/run`; [bench/README.md](README.md) says how to take them again. A figure is the median of the rounds,
with the least and the most of them behind it; services take turns in each round. Server and client each have a core of
their own. A `*` marks a figure that the client limits. Absolute figures are those of one machine on one day; the ratios
are what counts.
"""]
    if any(section["quick"] for section in taken.values()):
        parts.append("**Some of this was taken with `--quick`, to see whether it works: it says little.**\n")
    parts += ["## Goals\n", goals.report(taken)]
    for name, section in taken.items():
        module = sections.ALL[name]
        parts.append(f"## {module.TITLE}\n")
        parts.append(module.report(section["data"]) if section["data"] else "Left out: a tool is missing.\n")
        parts.append(f"Taken {section['taken']} at {section['revision']}, rounds: {section['rounds']}, "
                     f"{section['seconds']:.0f} s.\n")
    parts += ["## The machine\n", machines(taken), "## The commands\n"]
    for name, section in taken.items():
        lines = "\n".join(section["commands"])
        parts.append(f"<details><summary>{sections.ALL[name].TITLE}</summary>\n\n```sh\n{lines}\n```\n\n</details>\n")
    return "\n".join(parts)


def machines(taken):
    """Each machine that sections were taken on."""
    different = []
    for section in taken.values():
        if section["machine"] not in different:
            different.append(section["machine"])
    lines = []
    for found in different:
        lines.append(f"{found['cpu']}, {found['cores']} cores, {found['memory_mib']:,} MiB, Linux {found['kernel']}; "
                     f"server on core {found['server_core']}, client on core {found['client_core']}.\n")
        lines += [f"- {name}: {version}" for name, version in found["versions"].items()]
        lines.append("")
    return "\n".join(lines)
