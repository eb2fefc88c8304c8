"""Stub."""

from __future__ import annotations

from artsim.report.content import Evaluation, Section


def section(evaluation: Evaluation) -> Section | None:
    """None."""
    return None
