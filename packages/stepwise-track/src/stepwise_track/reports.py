"""The classification report as rows: one for each class, then the means."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from stepwise_track.errors import TrackError

REPORT_COLUMNS = ("precision", "recall", "f1-score", "support")
"""Columns of a report, under the names that scikit-learn uses."""


def report_rows(report: Any, predictions: Any = None) -> list[list[Any]]:
    """Return the rows of a classification report: class, then `REPORT_COLUMNS`.

    Args:
        report: scikit-learn's report as a mapping, or the true labels.
        predictions: the predicted labels, if `report` is the true ones.

    Raises:
        TrackError: if the report is no mapping, or labels and predictions differ in number.
    """
    if predictions is not None:
        return _count(_labels(report), _labels(predictions))
    if not isinstance(report, Mapping):
        raise TrackError(
            f"a classification report must be a mapping, not {type(report).__name__}",
            hint="classification_report(y_true, y_pred, output_dict=True), or give y_true and y_pred",
        )
    means = report.get("macro avg")
    total = means.get("support") if isinstance(means, Mapping) else None
    return [
        [str(name), *(row.get(column) for column in REPORT_COLUMNS)]
        if isinstance(row, Mapping)
        else [str(name), None, None, row, total]  # accuracy is one number for all classes
        for name, row in report.items()
    ]


def _labels(values: Any) -> list[Any]:
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _count(truth: list[Any], predicted: list[Any]) -> list[list[Any]]:
    """Return the rows for labels; as scikit-learn does, a class that is never predicted has precision 0."""
    if len(truth) != len(predicted) or not truth:
        raise TrackError(
            f"{len(truth)} true labels and {len(predicted)} predictions make no report",
            hint="give one prediction for each label",
        )
    hits = Counter(one for one, other in zip(truth, predicted, strict=True) if one == other)
    support, chosen = Counter(truth), Counter(predicted)
    rows: list[list[Any]] = []
    for label in sorted(support.keys() | chosen.keys(), key=lambda one: (str(type(one)), one)):
        precision = hits[label] / chosen[label] if chosen[label] else 0.0
        recall = hits[label] / support[label] if support[label] else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        rows.append([str(label), precision, recall, f1, support[label]])
    total = len(truth)
    macro = [sum(row[column] for row in rows) / len(rows) for column in (1, 2, 3)]
    weighted = [sum(row[column] * row[4] for row in rows) / total for column in (1, 2, 3)]
    return [
        *rows,
        ["accuracy", None, None, sum(hits.values()) / total, total],
        ["macro avg", *macro, total],
        ["weighted avg", *weighted, total],
    ]
