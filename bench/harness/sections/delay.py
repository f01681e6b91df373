"""Delays: the configured one against what the client saw."""

from .. import machine
from ..context import Samples
from ..load import client
from ..services import OURS
from ..stats import mostly, number, spread, summary
from ..table import markdown

TITLE = "Exactness of delays"

DELAYS_MS = (1, 5, 50)
CLIENTS = (1, 64, 1_000, 10_000)
# Requests per second of all clients together: low enough that no server is short of CPU.
RATE = 2_000

# With these, every client always has a request under way: the delay is clients/rate.
HELD_RATE = 10_000
HELD = {100: 1_000, 1_000: 10_000}

# The cells in which alternatives are measured.
COMMON = [(50, 1), (50, 1_000)]


def cells(service):
    """(delay, clients, rate) of a service, by delay."""
    external = getattr(service, "delay_ms", 0)
    if external:
        return [(external, clients, RATE) for clients in CLIENTS]
    all_cells = [(delay, clients, RATE) for delay in DELAYS_MS for clients in CLIENTS]
    if service.all_delays:
        return all_cells + [(delay, clients, HELD_RATE) for delay, clients in HELD.items()]
    return [cell for cell in all_cells if cell[:2] in COMMON]


def seconds(delay, clients, rate, pace):
    """How long a cell is measured: long enough for its answers, and where all are compared, for more of them than one
    pause of the machine makes late."""
    if rate == HELD_RATE:
        return delay / 1000 * 2 + 0.4
    return max(0.5 * pace, delay / 1000 * 5, 2.0 * pace if (delay, clients) in COMMON else 0)


def run(context):
    services = [service for service in context.services if service.delays]
    delays = sorted({cell[0] for service in services for cell in cells(service)})
    data = {}
    for delay in delays:
        machine.say(f"delay of {delay} ms")
        samples = {}
        asked = [service for service in services if any(cell[0] == delay for cell in cells(service))]
        for service in context.interleaved(asked):
            with service.running(delay) as server:
                for _, clients, rate in (cell for cell in cells(service) if cell[0] == delay):
                    result = measured(server, delay, clients, rate, context.pace)
                    samples.setdefault(clients, Samples()).add(service.name, **result)
        data[str(delay)] = {str(clients): {name: kept(figures) for name, figures in by_service.all.items()}
                            for clients, by_service in sorted(samples.items())}
    return data


def measured(server, delay, clients, rate, pace):
    """One cell of one round; again, and longer, where nothing was answered in time: a busy machine does that."""
    length = seconds(delay, clients, rate, pace)
    try:
        return client("delay", server.goal, clients, length, rate, delay)
    except RuntimeError as error:
        machine.say(f"again: {error}")
        return client("delay", server.goal, clients, length * 3, rate, delay)


def kept(figures):
    """Summaries, but for flags (whether most are set) and counts (their sum)."""
    result = {}
    for name, values in figures.items():
        if name.endswith("_limited"):
            result[name] = mostly(values)
        elif name in ("early", "failed", "requests"):
            result[name] = sum(values)
        else:
            result[name] = summary(values)
    return result


def report(data):
    head = ["clients", "p50", "p95", "p99", "worst", "least", "early", "answers", "under way"]
    parts = []
    for delay, by_clients in data.items():
        rows = []
        for clients, services in by_clients.items():
            for name, figures in services.items():
                errors = [spread(figures[figure], 1e-3, figures.get(f"{figure}_limited", False))
                          for figure in ("p50", "p95", "p99", "worst")]
                early = figures["early"]
                rows.append([f"{int(clients):,}, {name}", *errors, number(figures["least"]["min"] / 1000),
                             f"**{early}**" if early else 0, f"{figures['requests']:,}",
                             number(figures["under_way"]["median"])])
        rate = HELD_RATE if delay.isdigit() and int(delay) in HELD else RATE
        parts.append(f"### {delay} ms, at most {rate:,} requests/s\n\n"
                     f"Errors in ms: what the client saw, less {delay} ms.\n\n{markdown(head, rows)}")
    parts.append(f"""\
The client takes the time before the first byte of a request goes out, and looks for answers without ever sleeping. A
`*` marks a figure of which the client's own pauses may be half or more. `{OURS}` is asked for the delay by `LATENCY`, bare
epoll has one timerfd and a heap, bare axum tokio's timer, nginx `echo_sleep`, HAProxy Lua's `msleep`, Envoy its
fault filter. Clients begin at scattered instants, the same for each service, and ask again when their turn has come and
they have their answer: at even distances, each request would wake the server just when another's answer is due. With
1,000 and 10,000 clients at 100 ms and 1 s every client waits for an answer all the time. A virtual machine that is held
up for some milliseconds a few times a second raises every p99: p95 and the least of the rounds are nearer to what the
service does.
""")
    return "\n".join(parts)
