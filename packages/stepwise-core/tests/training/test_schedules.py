"""Learning rates: each schedule against its equation, and what holds for all of them."""

import math
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwise_core.config import TrainingConfig
from stepwise_core.config.schema import Schedule
from stepwise_core.training.schedules import learning_rate_at

SCHEDULES = get_args(Schedule)
WARMUP, TOTAL, PEAK = 400, 10_000, 0.5


def rates(schedule: str, *steps: int, d_model: int = 512, **settings: Any) -> list[float]:
    values = {"schedule": schedule, "learning_rate": PEAK, "warmup_steps": WARMUP, **settings}
    config = TrainingConfig.model_validate(values)
    return [learning_rate_at(step, config, d_model=d_model, total_steps=TOTAL) for step in steps]


def test_noam_is_the_papers_equation() -> None:
    """Equation 3, the paper's base model: D 512, 4 000 warm-up steps, factor 1."""
    steps = [1, 10, 3_999, 4_000, 4_001, 100_000]
    expected = [512**-0.5 * min(step**-0.5, step * 4_000**-1.5) for step in steps]
    assert rates("noam", *steps, learning_rate=1.0, warmup_steps=4_000) == pytest.approx(expected, rel=1e-12)
    assert rates("noam", 4_000, learning_rate=1.0, warmup_steps=4_000)[0] == pytest.approx(
        6.9877e-4, rel=1e-4
    )


def test_the_learning_rate_is_noams_factor() -> None:
    assert rates("noam", 7, 7_000, learning_rate=2.0) == pytest.approx(
        [2 * rate for rate in rates("noam", 7, 7_000, learning_rate=1.0)]
    )


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "noam"])
def test_warmup_is_linear(schedule: str) -> None:
    assert rates(schedule, 1, 100, 200, 399, 400) == pytest.approx(
        [PEAK / 400, PEAK / 4, PEAK / 2, PEAK * 399 / 400, PEAK]
    )


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "linear", "constant"])
def test_without_warmup_the_first_step_is_near_the_peak(schedule: str) -> None:
    assert rates(schedule, 1, warmup_steps=0)[0] == pytest.approx(PEAK, rel=1e-3)


def test_cosine_shape() -> None:
    middle = (WARMUP + TOTAL) // 2
    quarter = WARMUP + (TOTAL - WARMUP) // 4
    expected = [PEAK, PEAK * (1 + math.sqrt(0.5)) / 2, PEAK / 2, 0.0]
    assert rates("cosine", WARMUP, quarter, middle, TOTAL) == pytest.approx(expected, abs=1e-12)


def test_cosine_ends_at_the_final_learning_rate() -> None:
    middle = (WARMUP + TOTAL) // 2
    assert rates("cosine", middle, TOTAL, final_learning_rate=0.1) == pytest.approx([PEAK * 0.55, PEAK * 0.1])


def test_wsd_is_stable_until_its_decay() -> None:
    """Decay over the last fifth: from step 8 000."""
    found = rates("wsd", WARMUP, 5_000, 8_000, 9_000, TOTAL, decay_fraction=0.2, final_learning_rate=0.1)
    assert found == pytest.approx([PEAK, PEAK, PEAK, PEAK * 0.55, PEAK * 0.1])


def test_wsd_never_decays_before_the_end_of_the_warmup() -> None:
    found = rates("wsd", 200, WARMUP, (WARMUP + TOTAL) // 2, TOTAL, decay_fraction=1.0)
    assert found == pytest.approx([PEAK / 2, PEAK, PEAK / 2, 0.0])


def test_linear_falls_in_a_straight_line() -> None:
    middle = (WARMUP + TOTAL) // 2
    assert rates("linear", WARMUP, middle, TOTAL) == pytest.approx([PEAK, PEAK / 2, 0.0])
    assert rates("linear", TOTAL, final_learning_rate=0.2) == pytest.approx([PEAK * 0.2])


def test_inverse_sqrt_halves_with_four_times_the_steps() -> None:
    found = rates("inverse_sqrt", WARMUP, 4 * WARMUP, 16 * WARMUP)
    assert found == pytest.approx([PEAK, PEAK / 2, PEAK / 4])


def test_constant_stays() -> None:
    assert rates("constant", WARMUP, 5_000, TOTAL, 2 * TOTAL) == [PEAK] * 4


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "linear"])
def test_past_the_planned_steps_the_final_rate_stays(schedule: str) -> None:
    assert rates(schedule, TOTAL, TOTAL + 1, 3 * TOTAL, final_learning_rate=0.1) == pytest.approx(
        [PEAK * 0.1] * 3
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_no_step_changes_the_rate_by_more_than_a_step_of_warmup(schedule: str) -> None:
    found = rates(schedule, *range(1, TOTAL + 100))
    largest = max(found)
    assert max(abs(b - a) for a, b in pairwise(found)) <= largest / WARMUP * 1.001


@settings(deadline=None)
@given(
    schedule=st.sampled_from(SCHEDULES),
    step=st.integers(1, 3_000),
    warmup=st.integers(1, 2_000),
    total=st.integers(1, 2_000),
    final=st.floats(0, 1),
    decay=st.floats(0.001, 1),
)
def test_the_rate_stays_between_zero_and_the_peak(
    schedule: str, step: int, warmup: int, total: int, final: float, decay: float
) -> None:
    """Also where the warm-up is longer than the training."""
    config = TrainingConfig.model_validate(
        {"schedule": schedule, "learning_rate": 0.5, "warmup_steps": warmup,
         "final_learning_rate": final, "decay_fraction": decay}
    )  # fmt: skip
    peak = 0.5 / math.sqrt(16 * warmup) if schedule == "noam" else 0.5
    assert 0.0 <= learning_rate_at(step, config, d_model=16, total_steps=total) <= peak * (1 + 1e-12)
