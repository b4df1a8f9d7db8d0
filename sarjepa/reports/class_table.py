"""The table of one report, class by class, with a note on what its numbers depend on."""

from __future__ import annotations

from sarjepa.results.records import Report
from sarjepa.results.tables import Table, counted


def class_table(report: Report) -> Table:
    """The scores of each class of a report."""
    rows = [
        (
            name,
            str(scores.num_test),
            *("-" if share is None else f"{share:.1f}" for share in (scores.recall, scores.precision)),
        )
        for name, scores in report.per_class.items()
    ]
    total = sum(scores.num_test for scores in report.per_class.values())
    rows.append(("all", str(total), f"{report.balanced_accuracy:.1f} (balanced)", ""))
    title = f"{report.checkpoint} on {report.dataset}, {report.protocol}"
    return Table(title, ("class", "test chips", "recall (%)", "precision (%)"), tuple(rows), _note(report))


def _note(report: Report) -> str:
    solver = f"solver {report.solver}, " if report.protocol == "linear-probe" and report.solver else ""
    note = (
        f"{_trained_on(report)}{report.label_set}, {report.divided}, feature {report.pool}, {solver}"
        f"recipe {report.recipe}, augmentation {report.augment}, {report.selection}. "
        f"Accuracy {report.accuracy:.1f}%, macro-F1 {report.macro_f1:.1f}%."
    )
    if report.short:
        had = ", ".join(f"{name} has {number}" for name, number in report.short.items())
        note += f" Fewer chips than shots: {had}."
    if report.leaks:
        note += f" Beware: {report.leaks}."
    if report.seen:
        note += f" Beware: {report.seen}."
    if report.near_copy_percent is None:
        note += " Whether test chips have near-copies among the training chips is not known."
    elif report.near_copy_percent >= 0.05:
        note += (
            f" {report.near_copy_percent:.1f}% of the test chips are of a group of training chips "
            "(near-copies, one scene or a named group)."
        )
    return note


def _trained_on(report: Report) -> str:
    """The training chips; of a whole training split, a part is held out where a temperature is fitted."""
    num_train, num_held = report.num_train, report.num_held_for_temperature
    if not num_train:
        return ""
    if report.shots:
        return f"{counted(num_train, 'training chip')} ({counted(report.shots, 'shot')} per class), "
    if num_held:
        return f"{num_train} of the {num_train + num_held} training chips ({num_held} held out for the temperature), "
    return f"{num_train} training chips (the whole training split), "
