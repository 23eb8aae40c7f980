# SPDX-License-Identifier: BSD-3-Clause
"""The table: one row for each measurement."""

import statistics

from harness import say

HEAD = ("measurement", "ours", "reference", "ratio", "target", "verdict")


def spread(values, form="%.3g", unit=""):
    """The median, and between which bounds the runs were."""
    text = form % statistics.median(values)
    if len(values) > 1 and form % min(values) != form % max(values):
        text += " (" + form % min(values) + "-" + form % max(values) + ")"
    return text + (" " + unit if unit else "")


class Table:
    def __init__(self):
        self.rows = []

    def add(self, *cells):
        self.rows.append(cells)
        say(" | ".join(cells))

    def compare(self, name, ours, reference, reference_name, form, unit, at_least=None, at_most=None, more_than=None):
        """ours and reference: figures of runs that were made in turn.  The ratio is the median of the ratios of
        neighbouring runs.  Without a target the row is for information."""
        ratios = [a / b for a, b in zip(ours, reference)]
        ratio = statistics.median(ratios)
        target, met = "-", None
        if at_least is not None:
            target, met = ">= %.2f" % at_least, ratio >= at_least
        if more_than is not None:
            target, met = "> %.2f" % more_than, ratio > more_than
        if at_most is not None:
            target, met = "<= %.2f" % at_most, ratio <= at_most
        self.add(name, spread(ours, form, unit), "%s: %s" % (reference_name, spread(reference, form, unit)),
                 spread(ratios, "%.2f"), target, verdict(met))

    def absolute(self, name, ours, form, unit, limit, limit_text, reference="-", ratio="-"):
        """The median of ours has to be at most the limit."""
        met = statistics.median(ours) <= limit
        self.add(name, spread(ours, form, unit), reference, ratio, limit_text, verdict(met))

    def info(self, name, ours, reference, ratio="-"):
        self.add(name, ours, reference, ratio, "-", verdict(None))

    def failed(self, name, trouble):
        self.add(name, "not measured: %s" % trouble, "", "", "", "FAILED")

    def write(self, out):
        rows = [HEAD] + self.rows
        # The text of a failure may be long; it makes no column wide.
        widths = [max(len(row[i]) for row in rows if row[-1] != "FAILED") for i in range(len(HEAD))]
        for n, row in enumerate(rows):
            print(" | ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip(), file=out)
            if n == 0:
                print("-|-".join("-" * width for width in widths), file=out)
        out.flush()


def verdict(met):
    return "info" if met is None else "met" if met else "MISSED"
