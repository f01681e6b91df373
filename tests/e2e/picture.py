"""Draws a drill from Prometheus: probe results, injected and eligible requests, targets that were up, and the alert.

    tests/e2e/picture.py SERVER BEGIN END >FILE.svg

BEGIN and END are seconds since the Unix epoch; the axis begins with 0 at BEGIN.
"""

import json
import sys
import urllib.parse
import urllib.request

WIDTH, LEFT, RIGHT = 860, 128, 16
TITLE, PLOT, LANE, GAP, FOOT = 46, 88, 18, 34, 34
GREEN, RED, ORANGE, GREY, INK = "#2da44e", "#cf222e", "#bf8700", "#d0d7de", "#1f2328"

# Series of a plot: label, colour, query.
ANSWERS = [
    ("200", GREEN, 'sum(rate(probesim_requests_total{target="liveness", code="200"}[3s])) or vector(0)'),
    ("503", RED, 'sum(rate(probesim_requests_total{target="liveness", code="503"}[3s])) or vector(0)'),
]
INJECTED = [
    ("eligible", GREY, 'sum(rate(probesim_faults_eligible_total{fault="readiness-rate"}[5s])) or vector(0)'),
    ("injected", RED, 'sum(rate(probesim_faults_injected_total{fault="readiness-rate"}[5s])) or vector(0)'),
]
# Lanes: a label, then for each kind of span its colour and a query that has samples during the span.
LANES = [
    ("liveness", [(GREEN, 'probesim_target_up{target="liveness"} == 1'), (RED, 'probesim_target_up{target="liveness"} == 0')]),
    ("readiness", [(GREEN, 'probesim_target_up{target="readiness"} == 1'), (RED, 'probesim_target_up{target="readiness"} == 0')]),
    ("probe timeouts", [(ORANGE, "sum(increase(probesim_clients_gone_total[2s])) > 0")]),
    (
        "TargetDown alert",
        [
            (ORANGE, 'ALERTS{alertname="ProbesimTargetDown", alertstate="pending"}'),
            (RED, 'ALERTS{alertname="ProbesimTargetDown", alertstate="firing"}'),
        ],
    ),
]


def ask(server, begin, end, query):
    """The samples of the first series of a range query, each second."""
    form = urllib.parse.urlencode({"query": query, "start": begin, "end": end, "step": 1})
    with urllib.request.urlopen(f"{server}/api/v1/query_range?{form}", timeout=10) as answer:
        result = json.load(answer)["data"]["result"]
    return [(float(time) - begin, float(value)) for time, value in result[0]["values"]] if result else []


def text(x, y, words, anchor="start", size=12, colour=INK, weight="normal"):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}" font-weight="{weight}">{words}</text>'


class Drawing:
    """An SVG with time to the right; each part is added below the others."""

    def __init__(self, length):
        self.length = length
        self.parts = []
        self.y = TITLE

    def x(self, time):
        return LEFT + (WIDTH - LEFT - RIGHT) * time / self.length

    def plot(self, title, series, stacked):
        """Areas, stacked with the first lowest, or each from the axis."""
        self.parts.append(text(LEFT, self.y - 8, title, weight="bold"))
        ground = self.y + PLOT
        totals = {}
        shapes = []
        for label, colour, samples in series:
            tops = [(time, value + (totals.get(time, 0) if stacked else 0)) for time, value in samples]
            shapes.append((colour, tops, [totals.get(time, 0) if stacked else 0 for time, _ in samples]))
            totals.update(tops if stacked else ((time, max(value, totals.get(time, 0))) for time, value in tops))
        most = max(totals.values())
        height = lambda value: ground - PLOT * value / (most * 1.05)
        for colour, tops, bottoms in shapes:
            upper = [f"{self.x(time):.1f},{height(value):.1f}" for time, value in tops]
            lower = [f"{self.x(time):.1f},{height(value):.1f}" for (time, _), value in zip(tops, bottoms)]
            self.parts.append(f'<polygon points="{" ".join(upper + lower[::-1])}" fill="{colour}"/>')
        for value in (0, 10, 20):
            if value <= most * 1.05:
                y = height(value)
                self.parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{INK}" stroke-opacity=".15"/>')
                self.parts.append(text(LEFT - 8, y + 4, f"{value}/s", "end", 11))
        x = WIDTH - RIGHT
        for label, colour, _ in reversed(series):
            x -= 7 * len(label) + 24
            self.parts.append(f'<rect x="{x}" y="{self.y - 17}" width="10" height="10" fill="{colour}"/>')
            self.parts.append(text(x + 14, self.y - 8, label, size=11))
        self.y = ground + GAP

    def lane(self, label, spans):
        """Bars of each colour where there are samples."""
        self.parts.append(text(LEFT - 8, self.y + 11, label, "end", 11))
        for colour, samples in spans:
            for begin, end in runs(samples):
                x, width = self.x(begin), self.x(min(end + 1, self.length)) - self.x(begin)
                self.parts.append(f'<rect x="{x:.1f}" y="{self.y}" width="{width:.1f}" height="{LANE - 5}" fill="{colour}"/>')
        self.y += LANE

    def done(self, title, about):
        for time in range(0, int(self.length) + 1, 5):
            self.parts.append(text(self.x(time), self.y + 16, f"{time} s", "middle", 11))
        height = self.y + FOOT
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
            f' font-family="system-ui, sans-serif" role="img" aria-label="{about}">',
            f"<title>{title}</title>",
            f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
            *self.parts,
            "</svg>",
        ])


def runs(samples):
    """First and last time of each run of samples that are a second apart."""
    found = []
    for time, _ in samples:
        if found and time - found[-1][1] <= 1:
            found[-1][1] = time
        else:
            found.append([time, time])
    return found


def main():
    server, begin, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    drawing = Drawing(end - begin)
    both = lambda queries: [(label, colour, ask(server, begin, end, query)) for label, colour, query in queries]
    drawing.plot("Answers to liveness probes", both(ANSWERS), stacked=True)
    drawing.plot("readiness-rate, 20%: requests in its window, and those that failed", both(INJECTED), stacked=False)
    drawing.y -= GAP - 14
    for label, spans in LANES:
        drawing.lane(label, [(colour, ask(server, begin, end, query)) for colour, query in spans])
    print(drawing.done("A drill, as Prometheus saw it", "A timeline of a drill: liveness fails for twelve seconds, a random 20 % of the readiness requests fail throughout, and an alert fires and resolves"))


if __name__ == "__main__":
    main()
