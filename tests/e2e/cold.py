"""Every pattern of .cargo/cold.ld places something: cold.py LINK_MAP, as lld's -Map writes it.

A crate that is renamed or replaced leaves a pattern behind that matches nothing, and its code among what is resident.
"""

import fnmatch
import pathlib
import re
import sys

SCRIPT = pathlib.Path(__file__).parents[2] / ".cargo" / "cold.ld"


def patterns():
    """The patterns of each output section of the script."""
    text = re.sub(r"/\*.*?\*/", "", SCRIPT.read_text(), flags=re.DOTALL)
    for name, body in re.findall(r"(\.text\.\w+)\s*:\s*\{(.*?)\}", text, re.DOTALL):
        for group in re.findall(r"\*\(([^)]*)\)", body):
            for pattern in group.split():
                yield name, pattern


def placed(path):
    """The input sections of each output section of a link map."""
    sections, current = {}, None
    for line in pathlib.Path(path).read_text().splitlines():
        # Address, address, size and alignment; then an output section at once, or an input section further in.
        if match := re.match(r" +[0-9a-f]+ +[0-9a-f]+ +[0-9a-f]+ +[0-9]+ (\.\S+)$", line):
            current = match[1]
        elif match := re.match(r" +[0-9a-f]+ +[0-9a-f]+ +[0-9a-f]+ +[0-9]+ {9}\S.*:\((.*)\)$", line):
            sections.setdefault(current, []).append(match[1])
    return sections


def main():
    sections, found = placed(sys.argv[1]), list(patterns())
    if not found or ".text" not in sections:
        sys.exit("the script or the map cannot be read")
    idle = [
        f"{name}: {pattern}"
        for name, pattern in found
        if not any(fnmatch.fnmatchcase(section, pattern) for section in sections.get(name, []))
    ]
    if idle:
        sys.exit("patterns of .cargo/cold.ld that match nothing:\n  " + "\n  ".join(idle))
    print(f"{len(found)} patterns, each places something")


main()
