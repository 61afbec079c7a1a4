"""Exploration: prices beside the chosen ones are shown too, since only shown prices are learned (science § 7).

``bounded`` gives the allowed grid prices beside the chosen ones, and the farthest ones allowed, a small
propensity each;
``thompson`` draws the sale probabilities from their posterior before solving (TS-update of Ferreira,
Simchi-Levi, Wang 2018); ``none`` does neither. The propensity that is logged is the one after
guardrails: exploration reads only prices that they allow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import betaincinv

_LEVELS = 1_021
"""Uniform numbers per segment of :func:`draw_at_prices`; a prime, so that grid prices never share one."""
SMALLEST_SHARE = 1e-9
"""A share below this is rounding error of the optimizer, not a price."""


def keep_neighbours(
    shares: Sequence[float], propensity: float, neighbours: int, far: tuple[float, float] = (0.0, 0.0)
) -> list[float]:
    """Return one segment's select probabilities, with a least propensity for neighbours of its chosen prices.

    Parameters
    ----------
    shares : the plan's shares over the allowed prices, ascending; they sum to 1.
    propensity : least probability of each neighbour and of each chosen price.
    neighbours : grid prices on each side of a chosen one.
    far : least probability of the lowest and of the highest allowed price: what is learned of an
        elasticity grows with the square of the distance, what it costs does so too, but from nothing
        (near an optimum), so a few customers far away teach more than many next door.

    Examples
    --------
    >>> [round(q, 3) for q in keep_neighbours([0.0, 0.0, 1.0, 0.0], 0.02, 1)]
    [0.0, 0.02, 0.96, 0.02]
    """
    chosen = [t for t, share in enumerate(shares) if share > SMALLEST_SHARE]
    played = sorted({n for t in chosen for n in range(t - neighbours, t + neighbours + 1) if 0 <= n < len(shares)})
    total = sum(shares[t] for t in chosen)
    kept = dict.fromkeys(played, propensity)
    for end, least in zip((0, len(shares) - 1), far, strict=True):
        if least > 0.0 and end not in chosen:
            kept[end] = max(least, kept.get(end, 0.0))
    rest = 1.0 - sum(kept.values())
    if rest < 0.0:
        raise ValueError(f"{len(kept)} prices cannot each keep a propensity of {propensity}")
    result = [0.0] * len(shares)
    for t, least in kept.items():
        share = shares[t] / total if t in chosen else 0.0
        result[t] = least + rest * share
    return result


def explore(
    shares: Sequence[Sequence[float]],
    mode: str,
    propensity: float,
    neighbours: int,
    far: tuple[float, float] = (0.0, 0.0),
) -> list[list[float]]:
    """Return select probabilities per segment; ``bounded`` adds neighbours, and every mode drops rounding errors.

    >>> explore([[0.25, 0.75, 1e-17]], "none", 0.02, 1)
    [[0.25, 0.75, 0.0]]
    """
    if mode == "bounded":
        return [keep_neighbours(of_segment, propensity, neighbours, far) for of_segment in shares]
    cleaned = []
    for of_segment in shares:
        kept = [share if share > SMALLEST_SHARE else 0.0 for share in of_segment]
        total = sum(kept)
        cleaned.append([share / total for share in kept])
    return cleaned


def draw_probabilities(
    successes: Sequence[Sequence[float]], failures: Sequence[Sequence[float]], seed: int
) -> list[list[float]]:
    """Draw sale probabilities from their Beta posteriors [K][T], made non-increasing in price.

    The running minimum makes each draw a demand curve: a higher price never sells more.

    >>> draw_probabilities([[8.0, 2.0]], [[2.0, 8.0]], 7) == draw_probabilities([[8.0, 2.0]], [[2.0, 8.0]], 7)
    True
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    drawn = rng.beta(np.asarray(successes, dtype=np.float64), np.asarray(failures, dtype=np.float64))
    return [[float(p) for p in of_segment] for of_segment in np.minimum.accumulate(drawn, axis=1)]


def draw_at_prices(
    successes: Sequence[Sequence[float]], failures: Sequence[Sequence[float]], prices: Sequence[int], seed: int
) -> list[list[float]]:
    """Draw sale probabilities as :func:`draw_probabilities` does, with a level per price and not per position.

    A price has the same quantile of its posterior whichever other prices are drawn with it.

    Parameters
    ----------
    successes, failures : parameters of the Beta posteriors [K][T].
    prices : ascending, minor units [T].

    Returns
    -------
    Probabilities [K][T], non-increasing in price.

    Examples
    --------
    >>> both = draw_at_prices([[8.0, 2.0]], [[2.0, 8.0]], [899, 999], 7)
    >>> both[0][:1] == draw_at_prices([[8.0]], [[2.0]], [899], 7)[0]
    True
    """
    uniform = np.random.Generator(np.random.PCG64(seed)).random((len(successes), _LEVELS))
    levels = uniform[:, np.asarray(prices, dtype=np.int64) % _LEVELS]
    drawn = betaincinv(np.asarray(successes, dtype=np.float64), np.asarray(failures, dtype=np.float64), levels)
    return [[float(p) for p in of_segment] for of_segment in np.minimum.accumulate(drawn, axis=1)]
