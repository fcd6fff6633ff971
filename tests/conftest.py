"""The test run: what comes before torch, what keeps together, what was not run and why."""

from __future__ import annotations

import os
import signal
from collections import Counter
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings

# Threads that spin while they wait steal the cores from the sandbox: docs/log/engines.md.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell has its background ignore Ctrl-C, which tests press.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of the machine than of the kit.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

LONG = ("hostile", "model", "kernel")  # marks of what takes long: begun first


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with what takes longest, lest it be left over; leaves out models without torch."""
    if find_spec("torch") is None:
        for item in items:
            if item.get_closest_marker("model"):
                item.add_marker(pytest.mark.skip(reason="needs the extra `hf`"))
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    return next((k for k, name in enumerate(LONG) if item.get_closest_marker(name)), len(LONG))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what was not run, a line for each reason."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
    )
    if reasons:
        terminalreporter.section("not run")
    for reason, times in reasons.most_common():
        terminalreporter.write_line(f"{times:5} {reason}")
