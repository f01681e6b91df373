"""Compares what clients saw with what was counted: every request is answered, injected or counted as gone."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass
class Account:
    """What clients know about the requests to one target."""

    sent: int = 0
    # By status code, for answers whose head arrived.
    answered: Counter = field(default_factory=Counter)
    # The connection ended, or what came was not HTTP.
    cut: int = 0
    # The client lost patience, or left on purpose: the server may or may not have answered.
    left: int = 0
    # Answers by the fault in their head.
    faults: Counter = field(default_factory=Counter)
    # Requests that may or may not have been sent in full.
    unsure: int = 0


class Ledger(defaultdict):
    """Accounts by target."""

    def __init__(self):
        super().__init__(Account)


def differences(ledger, before, after):
    """The differences between two scrapes that do not match, in words."""
    wrong = []
    for target, account in ledger.items():
        codes = counted(before, after, "probesim_requests_total", "code", target)
        total, sent = sum(codes.values()), account.sent
        if not sent <= total <= sent + account.unsure:
            wrong.append(f"{target}: {sent:,} requests were sent, {total:,.0f} counted")
        for code in sorted(set(codes) | {str(code) for code in account.answered}):
            if code == "none":
                continue
            seen, served = account.answered[int(code)], codes.get(code, 0)
            if not seen <= served <= seen + account.left + account.unsure:
                wrong.append(f"{target}: {seen:,} answers of {code} came, {served:,.0f} were counted,"
                             f" {account.left} clients had left")
        none = codes.get("none", 0)
        if not account.cut <= none <= account.cut + account.left + account.unsure:
            wrong.append(f"{target}: {account.cut:,} requests were cut, {none:,.0f} counted without a head,"
                         f" {account.left} clients had left")
        gone = after.sum("probesim_clients_gone_total", target=target) \
            - before.sum("probesim_clients_gone_total", target=target)
        if gone > account.left + account.unsure:
            wrong.append(f"{target}: {account.left} clients left, {gone:,.0f} were counted")
        injected = counted(before, after, "probesim_faults_injected_total", "fault", target, mode="status")
        for fault, count in injected.items():
            seen = account.faults[fault]
            if not seen <= count <= seen + account.left + account.unsure:
                wrong.append(f"{target}: {seen:,} answers named {fault}, {count:,.0f} were counted")
    return wrong


def counted(before, after, name, label, target, **labels):
    """How much each of a target's counters has grown."""
    old = before.by(name, label, target=target, **labels)
    return {key: value - old.get(key, 0) for key, value in after.by(name, label, target=target, **labels).items()}
