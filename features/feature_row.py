"""Computation of one feature row from a listing's sums, without state.

:mod:`features.feature_logic` keeps the sums, and the groups of :mod:`features.rows` compute the values. The
computation is separate from the state, so that a row can be checked by hand and recomputed from any source of the
same sums.
"""

from __future__ import annotations

from typing import Any

from features.registry import CREATED, EVENT_TIMESTAMP, FEATURES, KEY
from features.rows import GROUPS, RowInputs
from features.settings import FeatureSettings
from schemas.listings import Listing

_PUBLIC = tuple((spec.name, spec.public) for spec in FEATURES)


def feature_row(inputs: RowInputs, settings: FeatureSettings) -> dict[str, Any]:
    """Return the value of the ``features`` stream: key, times, then all features by public name, in order.

    Parameters
    ----------
    inputs : the listing's sums.
    settings : parameters of the feature computation.

    Raises
    ------
    KeyError
        If a feature of the registry was not computed.
    """
    values: dict[str, Any] = {}
    for group in GROUPS:
        values |= group.values(inputs, settings)
    return {
        KEY: Listing.key_of(inputs.entry),
        EVENT_TIMESTAMP: inputs.at_ms,
        CREATED: inputs.at_ms,
        **{public: values[name] for name, public in _PUBLIC},
    }
