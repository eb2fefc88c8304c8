"""How far a table is, how fast it goes and when it will be done, from what its folder lists. Times are epoch s."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

WINDOW_S = 900.0
"""The rate is that of the last quarter of an hour; a table in which nothing appears for so long is stalled."""


class Plan(NamedTuple):
    """What a run set out to do: rows that the table must account for, how many of them were missing, and since when."""

    expected: int | None = None
    missing: int | None = None
    begun: float | None = None

    @classmethod
    def of(cls, stored: dict[str, Any] | None) -> Plan:
        """A plan from `_plan.json`, which tables of older versions do not have in full."""
        stored = stored or {}
        return cls(*(stored.get(name) for name in cls._fields))


def finished(plan: Plan, at: float | None) -> dict[str, Any]:
    """What is told of a finished table: how long the last run that changed it took, kills and pauses included."""
    took = at - plan.begun if at is not None and plan.begun is not None and at > plan.begun else None
    rate = plan.missing / took if took and plan.missing else None
    return {"state": "finished", "rate": _rounded(rate, 3), "eta_s": 0, "elapsed_s": _rounded(took, 1)}


def unfinished(plan: Plan, started: float | None, arrivals: Iterable[tuple[float, int]], now: float) -> dict[str, Any]:
    """What is told of a table that is not finished.

    `arrivals`: when each part, done or quarantined, appeared, and its rows; `started`: when the present run did.
    """
    arrivals = list(arrivals)
    latest = max([when for when, _ in arrivals] + ([started] if started is not None else []), default=None)
    elapsed = _rounded(now - plan.begun, 1) if plan.begun is not None else None
    if latest is None or now - latest > WINDOW_S:
        return {"state": "stalled", "rate": None, "eta_s": None, "elapsed_s": elapsed}
    now = max(now, latest)  # the clocks of an object store and of this machine differ
    since = max(now - WINDOW_S, started or 0)
    recent = sum(rows for when, rows in arrivals if when >= since)
    rate = recent / max(now - since, 1.0)
    left = max(0, plan.expected - sum(rows for _, rows in arrivals)) if plan.expected is not None else None
    eta = None if left is None or not rate else left / rate
    return {"state": "running", "rate": _rounded(rate, 3), "eta_s": _rounded(eta, 1), "elapsed_s": elapsed}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def sentence(table: dict[str, Any]) -> str:
    """State, rate and times of one table of `tables.status`, for people."""
    rate = f"{table['rate']:,.3g} rows/s" if table["rate"] is not None else ""
    if table["state"] == "finished":
        took = f"finished in {duration(table['elapsed_s'])}" if table["elapsed_s"] is not None else "finished"
        return ", ".join(filter(None, (took, rate)))
    if table["state"] == "stalled":
        return f"stalled: nothing new for {duration(WINDOW_S)} or more"
    left = f"{duration(table['eta_s'])} left" if table["eta_s"] is not None else ""
    return ", ".join(filter(None, ("running", rate, left)))


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min` or `2 d 4 h`."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
