"""What bench/run measures. A section has a TITLE, `run(context)` for raw figures and `report(data)` for Markdown."""

from . import attach, cost, crates, delay, engine, footprint, growth, instructions, predict, proxy, tcp, tls

ALL = {
    "cost": cost,
    "instructions": instructions,
    "delay": delay,
    "footprint": footprint,
    "proxy": proxy,
    "tcp": tcp,
    "tls": tls,
    "attach": attach,
    "growth": growth,
    "engine": engine,
    "predict": predict,
    "crates": crates,
}
