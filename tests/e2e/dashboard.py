"""Checks the dashboard against Grafana's own schema, in the form of its generated Python library.

The library reads what it knows and writes it again: what is lost on the way, Grafana does not know. The types of all
values are compared with those of the schema.

    tests/e2e/dashboard.py FILE
"""

import enum
import json
import sys
import types
import typing

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

# Fields of an annotation that only the Prometheus data source has.
OF_THE_DATA_SOURCE = {"step", "titleFormat", "textFormat", "tagKeys"}


def lost(given, kept, path):
    """Paths of `given` that `kept` does not have."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            where = f"{path}.{key}"
            if key in kept:
                yield from lost(value, kept[key], where)
            elif not (path.startswith(".annotations.list[") and key in OF_THE_DATA_SOURCE):
                yield f"{where}: Grafana has no such field"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for position, (one, other) in enumerate(zip(given, kept)):
            yield from lost(one, other, f"{path}[{position}]")
    elif given != kept:
        yield f"{path}: {given!r} was read as {kept!r}"


def fits(value, hint):
    """Whether a value is of a type, one level deep."""
    origin = typing.get_origin(hint)
    if hint is typing.Any or hint is object or isinstance(hint, typing.TypeVar):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin is not None:
        return isinstance(value, origin)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return isinstance(value, hint) or value in [one.value for one in hint]
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)


def mistyped(value, path):
    """Paths of values of another type than the schema's."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from mistyped(item, f"{path}.{key}")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from mistyped(item, f"{path}[{position}]")
    elif type(value).__module__.startswith("grafana_foundation_sdk.models") and not isinstance(value, enum.Enum):
        for name, hint in typing.get_type_hints(type(value)).items():
            item = getattr(value, name)
            if not fits(item, hint):
                yield f"{path}.{name}: {item!r} is not of type {hint}"
            yield from mistyped(item, f"{path}.{name}")


def main():
    register_default_plugins()
    with open(sys.argv[1], encoding="utf-8") as file:
        given = json.load(file)
    dashboard = Dashboard.from_json(given)
    errors = [*lost(given, json.loads(json.dumps(dashboard, cls=JSONEncoder)), ""), *mistyped(dashboard, "")]
    for error in errors:
        print(error, file=sys.stderr)
    print(f"{sys.argv[1]}: {len(given['panels'])} panels, {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
