"""A small line chart as SVG, with logarithmic axes, readable on light and dark backgrounds."""

import math
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 150, 40, 44
# Readable on white and on black.
COLOURS = ("#2f81f7", "#d1642b", "#2da44e", "#a371f7")
INK = "#808790"


@dataclass
class Line:
    """Points with both coordinates above 0."""

    name: str
    points: list


@dataclass
class Plot:
    """Lines over a common axis."""

    title: str
    unit: str
    axis: str
    lines: list

    def svg(self):
        across = decades([x for line in self.lines for x, _ in line.points])
        up = decades([y for line in self.lines for _, y in line.points])
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        at_x = lambda value: LEFT + place(value, across) * (right - LEFT)
        at_y = lambda value: bottom - place(value, up) * (bottom - TOP)
        parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
                 f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}" role="img" aria-label="{self.title}">',
                 f'<text x="{LEFT}" y="20" font-weight="bold">{self.title}, {self.unit}</text>',
                 f'<text x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{self.axis}</text>']
        for power in range(across[0], across[1] + 1):
            x = at_x(10 ** power)
            parts.append(rule(x, TOP, x, bottom))
            parts.append(f'<text x="{x:.0f}" y="{bottom + 16}" text-anchor="middle">{label(power)}</text>')
        for power in range(up[0], up[1] + 1):
            y = at_y(10 ** power)
            parts.append(rule(LEFT, y, right, y))
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{label(power)}</text>')
        for index, line in enumerate(self.lines):
            colour = COLOURS[index]
            points = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in line.points)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in line.points]
            # The names are a list, since the lines may end at the same place.
            y = TOP + 14 + 20 * index
            parts.append(f'<rect x="{right + 14}" y="{y - 9}" width="10" height="10" fill="{colour}"/>'
                         f'<text x="{right + 30}" y="{y}">{line.name}</text>')
        return "\n".join([*parts, "</svg>", ""])


def decades(values):
    """The powers of ten around values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def place(value, powers):
    """Where a value is between two powers of ten, from 0 to 1."""
    return (math.log10(value) - powers[0]) / (powers[1] - powers[0])


def label(power):
    return f"{10 ** power:,}" if power >= 0 else f"{10.0 ** power:g}"


def rule(x1, y1, x2, y2):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{INK}" stroke-opacity="0.3"/>'
