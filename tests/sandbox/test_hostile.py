"""Hostile code in the surroundings it is meant for: others' cases and our own, 300 mixed blocks.

Each surroundings is made, and all its cases run, once; the tests read what came back. One after the
other, for several sets of 20,000 folders at once keep a slow disk busy for minutes.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

import pytest

from tests.sandbox import hostile
from tests.sandbox.hostile import Case, faults
from tests.sandbox.hostile_driver import LEAKS, SURROUNDINGS, Surroundings, obstacle, record, wrap

RECORD_S = 1800.0
CASES = [*hostile.given(), *hostile.OURS]
NEEDS = {"matplotlib_show": "matplotlib"}

OBSTACLES = {where: obstacle(where) for where in SURROUNDINGS}

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(RECORD_S + 60)]


def why_not(case: Case) -> str:
    """Why the case cannot run here; empty if it can."""
    module = NEEDS.get(case.name)
    if module and importlib.util.find_spec(module) is None:
        return f"needs {module}"
    if case.danger and not namespaced():
        return "would harm the machine if it were not contained: needs a PID namespace around it"
    return ""


# Semaphores live in /dev/shm, which for want of uids and namespaces is the kit's own as well.
REFUSED = {("user", "mp_pool_legit"), ("user", "process_pool_executor_legit")}


@cache
def namespaced() -> bool:
    return bool(wrap())


@pytest.mark.parametrize("where", SURROUNDINGS, ids=lambda where: where.name)
def test_the_surroundings_can_be_made(where: Surroundings) -> None:
    if reason := OBSTACLES[where]:
        pytest.skip(f"{len(CASES)} hostile cases in the surroundings of {where.name}: {reason}")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(where, id=where.name, marks=pytest.mark.xdist_group("hostile"))
        for where in SURROUNDINGS
        if not OBSTACLES[where]
    ],
)
def seen(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """What came back in one surroundings of every case that is asked for."""
    where: Surroundings = request.param
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    asked = [p["case"] for p in params if p.get("seen") is where and "case" in p]
    return record(where, [*(case.name for case in asked if not why_not(case)), LEAKS], RECORD_S)


def test_the_kit_ends_and_leaves_nothing(seen: dict[str, dict[str, Any]]) -> None:
    assert seen.get("closed") == {"name": "closed", "left": []}, seen["log"]["text"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_holds(
    seen: dict[str, dict[str, Any]], case: Case, request: pytest.FixtureRequest
) -> None:
    if (request.node.callspec.params["seen"].name, case.name) in REFUSED:
        pytest.skip("multiprocessing is refused where /dev/shm is shared with the kit")
    if reason := why_not(case):
        pytest.skip(reason)
    assert case.name in seen, seen["log"]["text"]
    assert faults(case, seen[case.name]) == []


def test_three_hundred_mixed_blocks_leave_nothing(seen: dict[str, dict[str, Any]]) -> None:
    leaks = seen[LEAKS]
    assert leaks["broken"] == []
    assert leaks["grown"] == {}
