"""Quantiles of Student's t distribution, for confidence levels that TFMA does not compute.

The probability that |T| is at most t has a closed form for whole degrees of freedom (Abramowitz
and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4). The quantile is found by halving
an interval around it; for many degrees of freedom by the Cornish-Fisher expansion (26.7.5), whose
error is then below the last digit that matters.
"""

from __future__ import annotations

import functools
import math

__all__ = ["two_sided_quantile"]

#: From here on the expansion is more exact than the sum is quick.
_MANY = 400


@functools.lru_cache(maxsize=256)
def two_sided_quantile(level: float, degrees_of_freedom: int) -> float:
    """Returns t such that T lies between -t and t with a given probability.

    Args:
        level: The probability, between 0 and 1, such as 0.95.
        degrees_of_freedom: Degrees of freedom, at least 1.

    Returns:
        The quantile, with a relative error below 1e-10 for levels up to 0.9999.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not 0 < level < 1 or degrees_of_freedom < 1:
        raise ValueError(f"no quantile at level {level} with {degrees_of_freedom} degrees")
    if degrees_of_freedom >= _MANY:
        return _expansion(level, degrees_of_freedom)
    low, high = 0.0, 1.0
    while _probability(high, degrees_of_freedom) < level:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        if _probability(middle, degrees_of_freedom) < level:
            low = middle
        else:
            high = middle
    return high


def _probability(t: float, degrees: int) -> float:
    """Probability that |T| is at most t."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2 == 1
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(3 if odd else 2, degrees - 1, 2):
        # Each term follows from the one before: an even over an odd number, or the other way.
        term *= (k - 1) / k * cosine * cosine
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _expansion(level: float, degrees: int) -> float:
    from statistics import NormalDist  # here, because it takes long to load and is seldom needed

    z = NormalDist().inv_cdf((1 + level) / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / degrees**power for power, term in enumerate(terms))
