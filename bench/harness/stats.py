"""Median and spread of repeated measurements."""

import statistics


def summary(values):
    """The median of the values and their spread, as kept in the raw figures."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": list(values)}


def number(value):
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude >= 1000:
        return f"{value:,.0f}"
    if magnitude >= 100:
        digits = 0
    elif magnitude >= 10:
        digits = 1
    elif magnitude >= 1:
        digits = 2
    else:
        digits = 3
    return f"{value:.{digits}f}"


def spread(result, scale=1.0, limited=False):
    """`median (min–max)`, with a * if the client limits the figure."""
    low, middle, high = (number(result[key] * scale) for key in ("min", "median", "max"))
    return f"{middle}{'*' if limited else ''} ({low}–{high})"


def mostly(flags):
    """Whether more than half of the flags are set."""
    return sum(map(bool, flags)) * 2 > len(flags)


def ratio(ours, theirs):
    """The quotient of two medians of one run."""
    return ours["median"] / theirs["median"]
