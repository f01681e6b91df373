"""Prints each query of a dashboard on a line of its own, with its variables replaced by their values.

    tests/e2e/queries.py FILE
"""

import json
import re
import sys

VALUES = {"__rate_interval": "1m", "__range": "5m", "namespace": ".*", "pod": ".*", "target": ".*"}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        dashboard = json.load(file)
    queries = [target for panel in dashboard["panels"] for target in panel["targets"]]
    queries += dashboard["annotations"]["list"]
    for query in queries:
        # An unknown variable is a KeyError.
        print(re.sub(r"\$\{?(\w+)\}?", lambda found: VALUES[found[1]], " ".join(query["expr"].split())))


if __name__ == "__main__":
    main()
