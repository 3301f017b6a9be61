"""Arithmetic that models get wrong: figures of a list of numbers, and days between dates."""

import statistics
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Literal

from cofferdam import PluginError, plugin, tool

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass
class Figures:
    """What is said of a list of numbers."""

    count: int
    sum: float
    min: float
    max: float
    mean: float
    median: float
    deviation: Annotated[float | None, "Of the sample; null for one number."]


@tool(read_only=True, idempotent=True, examples=[{"numbers": [1, 2, 4]}])
def summarize(numbers: Annotated[list[float], "At least one number.", {"minItems": 1}]) -> Figures:
    """Count, sum, extremes, mean, median and standard deviation of a list of numbers."""
    return Figures(
        count=len(numbers),
        sum=round_off(sum(numbers)),
        min=min(numbers),
        max=max(numbers),
        mean=round_off(statistics.fmean(numbers)),
        median=round_off(statistics.median(numbers)),
        deviation=round_off(statistics.stdev(numbers)) if len(numbers) > 1 else None,
    )


@dataclass
class Day:
    """A date."""

    date: str
    weekday: str


@tool(read_only=True, idempotent=True, examples=[{"start": "2024-02-28", "days": 2}])
def add_days(
    start: Annotated[str, "A date as YYYY-MM-DD."],
    days: Annotated[int, "How many to add; negative ones go back."],
    count: Annotated[Literal["all", "workdays"], "Which days count."] = "all",
) -> Day:
    """The date some days after another one, and its weekday."""
    day = parsed(start, "start")
    if abs(days) > 1_000_000:
        raise PluginError("invalid-input", "more than a million days cannot be counted", code="too_many_days")
    try:
        found = day + timedelta(days=days) if count == "all" else workdays_after(day, days)
    except OverflowError:
        raise PluginError("invalid-input", "the date lies beyond the calendar", code="out_of_range") from None
    return Day(found.isoformat(), WEEKDAYS[found.weekday()])


@dataclass
class Span:
    """The time between two dates."""

    days: int
    weeks: int
    rest: int


@tool(read_only=True, idempotent=True, examples=[{"start": "2024-01-01", "end": "2024-03-01"}])
def days_between(
    start: Annotated[str, "A date as YYYY-MM-DD."], end: Annotated[str, "A later or earlier date."]
) -> Span:
    """Days from one date to another, negative when the second is earlier; also as whole weeks and a rest."""
    days = (parsed(end, "end") - parsed(start, "start")).days
    weeks, rest = divmod(abs(days), 7)
    return Span(days, weeks, rest)


def parsed(text: str, name: str) -> date:
    """A date, or an error that names the argument."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise PluginError("invalid-input", f"`{name}` is no date: `{text}`", code="no_date") from None


def workdays_after(day: date, count: int) -> date:
    """Whole weeks at once, the rest one by one."""
    step = 1 if count >= 0 else -1
    weeks, rest = divmod(abs(count), 5)
    day += timedelta(weeks=weeks * step)
    while rest > 0:
        day += timedelta(days=step)
        rest -= day.weekday() < 5
    return day


def round_off(number: float) -> float:
    """Without what binary fractions add at the end."""
    return float(f"{number:.12g}")


Lifecycle, Tool = plugin(
    id="cofferdam/figures", summary="Figures of numbers and arithmetic of dates", tools=[summarize, add_days, days_between]
)
