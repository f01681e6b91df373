"""Filters out generated rules that would end the service under test, or use up the machine's resources."""

import schemathesis


def _acts_on_the_process(value):
    if isinstance(value, dict):
        target = value.get("target")
        targets = target if isinstance(target, list) else [target]
        return "process" in targets or any(map(_acts_on_the_process, value.values()))
    return isinstance(value, list) and any(map(_acts_on_the_process, value))


@schemathesis.hook
def filter_body(context, body):
    return not _acts_on_the_process(body)
