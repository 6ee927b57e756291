"""Where all tests are run by hand, a third of what is alike is tried."""

from __future__ import annotations

import pytest

from tests.tools import examples
from tests.tools.examples import left_out

CASES = [f"tests/a/test_a.py::test_it[{one}-{two}]" for one in range(50) for two in "xyz"]
SINGLE = [f"tests/a/test_a.py::test_{number}" for number in range(50)]
IN_A_BROWSER = [f"tests/browser/test_b.py::test_{number}" for number in range(150)]


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be as it is where nothing is promised, also in CI."""
    monkeypatch.setattr(examples, "NOTHING_LEFT_OUT", False)


@pytest.mark.parametrize("alike", [CASES, IN_A_BROWSER], ids=["cases", "in a browser"])
def test_about_a_third_of_what_is_alike_is_tried_and_the_first_always(alike: list[str]) -> None:
    """By hand."""
    tried = [name for name in alike if name not in left_out(alike)]
    assert len(alike) / 4 < len(tried) < len(alike) / 2
    assert tried[0] == alike[0]


def test_each_value_of_each_parameter_is_tried() -> None:
    """No step through the list that meets one value of three."""
    tried = set(CASES) - left_out(CASES)
    assert {name[-2] for name in tried} == set("xyz")


def test_a_test_of_its_own_and_two_cases_are_always_tried() -> None:
    """Whatever else there is."""
    two = ["tests/a/test_a.py::test_both[single]", "tests/a/test_a.py::test_both[bulk]"]
    assert left_out([*SINGLE, *CASES, *two]) == left_out(CASES)


def test_in_ci_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """There everything is promised."""
    monkeypatch.setattr(examples, "NOTHING_LEFT_OUT", True)
    assert left_out([*CASES, *IN_A_BROWSER]) == set()
