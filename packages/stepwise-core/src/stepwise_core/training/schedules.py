"""The learning rate as a function of the step. Steps count from 1; warm-up is linear in all of them."""

import math

from stepwise_core.config import TrainingConfig


def learning_rate_at(step: int, config: TrainingConfig, *, d_model: int, total_steps: int) -> float:
    """Return the learning rate of a step.

    Args:
        step: from 1.
        config: schedule, learning_rate, warmup_steps, decay_fraction, final_learning_rate.
        d_model: D, for noam.
        total_steps: planned steps; cosine, wsd and linear reach final_learning_rate there and stay.

    Returns:
        The learning rate. `noam` is the paper's equation 3 times learning_rate:
        D^-0.5 * min(step^-0.5, step * warmup^-1.5).
    """
    warmup = config.warmup_steps
    if config.schedule == "noam":
        return (
            config.learning_rate
            / math.sqrt(d_model)
            * min(1 / math.sqrt(step), step / (warmup * math.sqrt(warmup)))
        )
    if step < warmup:
        return config.learning_rate * step / warmup
    return config.learning_rate * _after_warmup(step, config, total_steps)


def _after_warmup(step: int, config: TrainingConfig, total_steps: int) -> float:
    """Return the part of the peak learning rate (0 to 1) at a step at or after the end of warm-up."""
    warmup, final = config.warmup_steps, config.final_learning_rate
    if config.schedule == "inverse_sqrt":
        return math.sqrt(warmup / step)
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "wsd":  # warm-up, stable, decay (Hu et al., 2024)
        start = max(warmup, round(total_steps * (1 - config.decay_fraction)))
        return 1.0 - (1.0 - final) * _progress(step, start, total_steps)
    progress = _progress(step, warmup, total_steps)
    if config.schedule == "linear":
        return 1.0 - (1.0 - final) * progress
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))  # cosine


def _progress(step: int, start: int, end: int) -> float:
    return min(max((step - start) / max(end - start, 1), 0.0), 1.0)
