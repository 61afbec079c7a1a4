"""A contextual bandit over steps of the price: River's LinUCB with its state as numbers (science § 7).

One Bayesian linear regression per arm estimates the reward from the context x. The arm of the largest upper bound
is chosen:

  (1) mean        m′x
  (2) variance    σ² + x′A⁻¹x,   A = I + Σ x x′/σ²,   m = A⁻¹ Σ x y/σ²
  (3) choice      argmax over arms of mean + √variance; equal bounds are drawn from the seed

River 0.23 keeps the regressions in private dictionaries and starts precision and covariance both at 1/alpha, so
that alpha stays 1 and the prior's standard deviation is set by scaling the context. Only this module reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from river import bandit, linear_model


class ArmBelief(NamedTuple):
    """What a choice reads of one arm: m [d], and the upper triangle of A⁻¹ by rows [d(d + 1)/2]."""

    weights: tuple[float, ...]
    covariance: tuple[float, ...]


class ArmModel(NamedTuple):
    """One arm's state: rewards so far, its belief, and the upper triangle of A by rows."""

    rewards: int
    belief: ArmBelief
    precision: tuple[float, ...]


def choose_arm(
    arms: Mapping[int, ArmBelief], steps: Sequence[int], context: Sequence[float], noise_sd: float, seed: int
) -> int:
    """Return the step of the largest upper bound (3).

    Parameters
    ----------
    arms : beliefs by step; a step without one has the prior.
    steps : the steps to choose among.
    context : x [d].
    noise_sd : σ of (2), in units of the reward.
    seed : of the draw among equal bounds.

    Examples
    --------
    >>> choose_arm({}, [-1, 0, 1], [1.0], 0.5, seed=3) in (-1, 0, 1)
    True
    >>> good = learn_reward(None, [1.0], 2.0, 0.5)
    >>> choose_arm({1: good.belief}, [-1, 1], [1.0], 0.5, seed=3)
    1
    """
    policy = bandit.LinUCBDisjoint(alpha=1.0, beta=noise_sd**-2, seed=seed)
    names = _names(len(context))
    for step in steps:
        if step in arms:
            policy._bayes_lin_regs[step] = _regression(arms[step], names, noise_sd)
    return int(policy.pull(list(steps), context=dict(zip(names, context, strict=True))))


def learn_reward(arm: ArmModel | None, context: Sequence[float], reward: float, noise_sd: float) -> ArmModel:
    """Return an arm's state after one more reward (2); None is the prior.

    Examples
    --------
    >>> once = learn_reward(None, [1.0], 1.0, 1.0)
    >>> once.rewards, once.belief.weights, once.precision
    (1, (0.5,), (2.0,))
    """
    names = _names(len(context))
    model = linear_model.BayesianLinearRegression(alpha=1.0, beta=noise_sd**-2)
    if arm is not None:
        model = _regression(arm.belief, names, noise_sd)
        model._ss = dict(zip(_pairs(names), arm.precision, strict=True))
    model.learn_one(dict(zip(names, context, strict=True)), reward)
    weights = tuple(float(model._m[name]) for name in names)
    covariance, precision = (
        tuple(float(values[pair]) for pair in _pairs(names)) for values in (model._ss_inv, model._ss)
    )
    return ArmModel(1 if arm is None else arm.rewards + 1, ArmBelief(weights, covariance), precision)


def _regression(belief: ArmBelief, names: Sequence[str], noise_sd: float) -> linear_model.BayesianLinearRegression:
    """Return River's regression with a belief; its precision is not set."""
    model = linear_model.BayesianLinearRegression(alpha=1.0, beta=noise_sd**-2)
    # River calls a method of NumPy's numbers on the product of weights and context.
    model._m = cast(Any, dict(zip(names, map(np.float64, belief.weights), strict=True)))
    model._ss_inv = dict(zip(_pairs(names), belief.covariance, strict=True))
    return model


def _names(size: int) -> list[str]:
    """Return the names of a context's numbers, in ascending order."""
    return [f"{k:02}" for k in range(size)]


def _pairs(names: Sequence[str]) -> list[Any]:
    """Return River's keys of the upper triangle of a matrix, by rows."""
    return [(a, b) for i, a in enumerate(names) for b in names[i:]]
