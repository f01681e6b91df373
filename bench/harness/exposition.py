"""The part of Prometheus' text format that is needed here."""

import re

LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Scrape:
    """The samples of one answer of `/metrics`."""

    def __init__(self, text):
        self.samples = []
        for line in text.splitlines():
            if match := LINE.match(line):
                self.samples.append((match[1], dict(LABEL.findall(match[2] or "")), float(match[3])))

    def sum(self, name, **labels):
        """The sum of a family's samples that have all these labels."""
        return sum(value for found, own, value in self.samples
                   if found == name and labels.items() <= own.items())

    def by(self, name, label, **labels):
        """Sums of a family's samples by the value of a label."""
        sums = {}
        for found, own, value in self.samples:
            if found == name and labels.items() <= own.items() and label in own:
                sums[own[label]] = sums.get(own[label], 0) + value
        return sums
