"""Reason codes: one enum per question of the form "why did this happen?".

Records, logs and JSON carry these codes; :mod:`schemas.public_texts` holds their texts.
"""

from __future__ import annotations

from enum import StrEnum


class RejectCode(StrEnum):
    """Reason for which a record was rejected."""

    INVALID_UTF8 = "INVALID_UTF8"
    NOT_JSON_OBJECT = "NOT_JSON_OBJECT"
    TOO_LARGE = "TOO_LARGE"
    MISSING_OR_WRONG_TYPE = "MISSING_OR_WRONG_TYPE"
    TOO_LONG = "TOO_LONG"
    BAD_CHARACTERS = "BAD_CHARACTERS"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    NOT_IN_SET = "NOT_IN_SET"
    BAD_CURRENCY = "BAD_CURRENCY"
    FROM_THE_FUTURE = "FROM_THE_FUTURE"
    DUPLICATE_ORDER = "DUPLICATE_ORDER"
    UNKNOWN_LISTING = "UNKNOWN_LISTING"
    WRONG_CURRENCY = "WRONG_CURRENCY"


class OutcomeCode(StrEnum):
    """Outcome of a decision."""

    PUBLISHED = "PUBLISHED"
    UNCHANGED = "UNCHANGED"
    HELD = "HELD"
    HARD_OVER_PACE = "HARD_OVER_PACE"
    UNPRICEABLE = "UNPRICEABLE"
    NOT_MATERIAL = "NOT_MATERIAL"
    TARGET_BELOW_DEMAND = "TARGET_BELOW_DEMAND"
    TARGET_ABOVE_DEMAND = "TARGET_ABOVE_DEMAND"
    COLD_START = "COLD_START"


class Sufficiency(StrEnum):
    """Degree to which the data behind an estimate suffice (science § 3)."""

    SUFFICIENT = "sufficient"
    PROVISIONAL = "provisional"
    PRIOR = "prior"
    NOT_IDENTIFIED = "not_identified"


class Endogeneity(StrEnum):
    """What is known of the endogeneity of prices (science § 3, "Identification")."""

    NOT_TESTED = "not_tested"
    NO_SIGN = "no_sign"
    SUSPECTED = "suspected"
    SHOWN = "shown"


class EstimateWarning(StrEnum):
    """What may bias an estimate, whatever its sufficiency (science § 3, "Identification")."""

    PRICES_FOLLOWED_DEMAND = "prices_followed_demand"


class InsufficientReason(StrEnum):
    """Why an estimate is not sufficient (science § 3, "Estimate states")."""

    NO_DATA = "no_data"
    NO_EXPOSURES = "no_exposures"
    PRICE_NEVER_MOVED = "price_never_moved"
    PRICE_HARDLY_MOVED = "price_hardly_moved"
    MOVED_WITH_COVARIATES = "moved_with_covariates"
    TOO_FEW_ROWS = "too_few_rows"
    TOO_FEW_PERIODS = "too_few_periods"
    ERROR_TOO_LARGE = "error_too_large"


class Fallback(StrEnum):
    """Stage of the fallback chain that a decision used (science § 7, "Fallback chain"), from best to worst."""

    NONE = "none"
    RULE = "rule"
    LAST_TABLE = "last_table"
    LIST_PRICE = "list_price"

    @property
    def rank(self) -> int:
        """Number of stages above it.

        >>> Fallback.NONE.rank, Fallback.LIST_PRICE.rank
        (0, 3)
        """
        return list(Fallback).index(self)


class FallbackReason(StrEnum):
    """Why a decision used a fallback: one reason per input that it could not use."""

    NO_ESTIMATE = "no_estimate"
    ESTIMATE_TOO_OLD = "estimate_too_old"
    ESTIMATE_UNUSABLE = "estimate_unusable"
    NOT_IDENTIFIED = "not_identified"
    RIVALS_STALE = "rivals_stale"
    NO_RIVALS = "no_rivals"
    NO_COST = "no_cost"
    NO_LIST_PRICE = "no_list_price"
