"""The contract of all elasticity models; tests run it over MODELS.

1. learning does not modify its input
2. the same rows give the same numbers, bit for bit
3. a restart after any period, through JSON, changes nothing
4. a repeated period, or one older than the last, changes nothing
5. an empty period changes no statistics
6. series are independent: learning them separately gives the same numbers
7. statistics are finite, own precision is not negative, and a snapshot is plain data with a version
8. a snapshot of another version raises SnapshotError
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import orjson

from features.array_text import array_text
from features.bucket_logic import SnapshotError
from features.elasticity.base import PeriodRows, SeriesModel, SeriesStatistics

MakeModel = Callable[[], SeriesModel]


def check_model(make: MakeModel, periods: Sequence[PeriodRows]) -> None:
    """Run all checks on some periods of rows.

    Parameters
    ----------
    make : returns a new model without data, always with the same settings.
    periods : at least three ascending periods, none of them empty.

    Raises
    ------
    AssertionError
        If a check fails; the message states the check, the expected and the actual result.
    ValueError
        If there are fewer than three periods, or an empty one.
    """
    name = make().name
    if len(periods) < 3 or any(p.series.size == 0 for p in periods):
        raise ValueError(f"check of {name}: expected at least three periods with rows, got {len(periods)}")
    before = [_copy(p) for p in periods]
    reference = _statistics(make, periods)
    for was, now in zip(before, periods, strict=True):
        for field, a, b in zip(PeriodRows._fields, was, now, strict=True):
            _require(
                np.array_equal(np.asarray(a), np.asarray(b)),
                name,
                1,
                f"{field} of period {was.period} untouched",
                "it was changed",
            )
    _require_equal(name, 2, "the same numbers from the same rows", reference, _statistics(make, periods))
    for after in range(len(periods)):
        _require_equal(
            name,
            3,
            f"no change by a restart after period {after}",
            reference,
            _statistics_with_restart(make, periods, after),
        )
    _check_repeats(make, periods, reference)
    _check_independence(make, periods, reference)
    for field, column in reference._asdict().items():
        _require(bool(np.all(np.isfinite(column))), name, 7, f"finite {field}", "a NaN or an infinity")
    own = reference.a[:, 0, 0]
    _require(bool(np.all(own >= -1e-9)), name, 7, "own precision at or above 0", f"{own.min()}")
    snapshot = _through_json(make, _learned_model(make, periods))
    _require(isinstance(snapshot.get("v"), int), name, 7, "a snapshot with its version 'v'", f"{sorted(snapshot)}")
    try:
        make().restore(snapshot | {"v": -1})
    except SnapshotError:
        return
    raise AssertionError(f"{name}, check 8: expected SnapshotError for another version, got none")


def _statistics(make: MakeModel, periods: Sequence[PeriodRows]) -> SeriesStatistics:
    return _learned_model(make, periods).statistics()


def _learned_model(make: MakeModel, periods: Sequence[PeriodRows]) -> SeriesModel:
    model = make()
    for rows in periods:
        model.learn(rows)
    return model


def _statistics_with_restart(make: MakeModel, periods: Sequence[PeriodRows], after: int) -> SeriesStatistics:
    model = make()
    for at, rows in enumerate(periods):
        model.learn(rows)
        if at == after:
            fresh = make()
            fresh.restore(_through_json(make, model))
            model = fresh
    return model.statistics()


def _through_json(make: MakeModel, model: SeriesModel) -> dict[str, object]:
    return dict(orjson.loads(orjson.dumps(model.snapshot(), default=array_text)))


def _check_repeats(make: MakeModel, periods: Sequence[PeriodRows], reference: SeriesStatistics) -> None:
    twice, late, empty = make(), make(), make()
    nothing = np.zeros(0)
    for rows in periods:
        twice.learn(rows)
        twice.learn(rows)
        late.learn(rows)
        late.learn(periods[0])
        empty.learn(rows)
    width = periods[0].x.shape[1]
    empty.learn(PeriodRows(periods[-1].period + 1, np.zeros(0, np.int64), np.zeros((0, width)), nothing, nothing))
    _require_equal(twice.name, 4, "no change by a repeated period", reference, twice.statistics())
    _require_equal(late.name, 4, "no change by an old period", reference, late.statistics())
    _require_equal(empty.name, 5, "no change by an empty period", reference, empty.statistics())


def _check_independence(make: MakeModel, periods: Sequence[PeriodRows], reference: SeriesStatistics) -> None:
    for series in sorted({int(i) for rows in periods for i in rows.series}):
        model = make()
        model.grow(len(reference.rows))
        for rows in periods:
            mine = rows.series == series
            model.learn(
                PeriodRows(
                    rows.period, rows.series[mine], rows.x[mine], rows.quantity[mine], rows.log_exposure[mine]
                )
            )
        alone = model.statistics().take([series])
        # Not bit for bit, because the order of summation depends on the number of rows.
        for field, a, b in zip(SeriesStatistics._fields, reference.take([series]), alone, strict=True):
            close = bool(np.allclose(a, b, rtol=1e-9, atol=1e-9))
            _require(
                close, model.name, 6, f"{field} of series {series} as when learned separately", f"{b} for {a}"
            )


def _require_equal(name: str, check: int, expected: str, one: SeriesStatistics, two: SeriesStatistics) -> None:
    for field, a, b in zip(SeriesStatistics._fields, one, two, strict=True):
        _require(np.array_equal(a, b), name, check, f"{expected} ({field})", f"{b.tolist()} for {a.tolist()}")


def _copy(rows: PeriodRows) -> PeriodRows:
    group = None if rows.group is None else rows.group.copy()
    return PeriodRows(
        rows.period, rows.series.copy(), rows.x.copy(), rows.quantity.copy(), rows.log_exposure.copy(), group
    )


def _require(holds: bool, name: str, check: int, expected: str, got: str) -> None:
    if not holds:
        raise AssertionError(f"{name}, check {check}: expected {expected}, got {got}")
