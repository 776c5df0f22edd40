"""Figures that are no rate of one call beside another's: each with what it is to be."""

import statistics
from collections.abc import Sequence

from msgspec import Struct


class Figure(Struct, frozen=True):
    """One figure.

    Attributes:
        value: the median of several, or the only one.
        low: the least of them.
        high: the greatest.
        goal: what it is to be; None if that is not said.
        at_least: whether it may be greater than the goal, or less.
    """

    name: str
    value: float
    unit: str
    low: float
    high: float
    goal: float | None = None
    at_least: bool = True

    @property
    def reached(self) -> bool:
        """Whether it is what it is to be."""
        if self.goal is None:
            return True
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        wanted = "" if self.goal is None else f", {sign} {self.goal:,g}"
        span = "" if self.low == self.high else f" ({_number(self.low)}-{_number(self.high)})"
        return f"{_number(self.value)}{span} {self.unit}{wanted}"


def figure(
    name: str,
    values: Sequence[float],
    unit: str = "",
    goal: float | None = None,
    *,
    at_least: bool = True,
) -> Figure:
    """The figure of several that were measured."""
    middle = statistics.median(values)
    return Figure(name, middle, unit, min(values), max(values), goal, at_least)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
