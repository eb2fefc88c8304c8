"""report.html: the sections of the story in their order, put into the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import yaml

from artsim.baselines import SCORERS
from artsim.report import (
    baselines,
    curves,
    elsewhere,
    finding,
    meaning,
    mistakes,
    model_card,
    robustness,
    shortcuts,
    subscores,
    thesis,
    tiers,
    words,
)
from artsim.report.compare import BLANK
from artsim.report.content import Evaluation, Section
from artsim.report.svg import COLOURS, FAMILIES
from artsim.report.verdict import group_noun, stats
from artsim.schemas import REASONS

STORY = (
    finding,
    tiers,
    baselines,
    thesis,
    elsewhere,
    shortcuts,
    robustness,
    subscores,
    meaning,
    mistakes,
    curves,
    model_card,
)
_RECORD = "What was left out, and every table and setting behind the figures."
_READING = "The words of this page, in its order."


def write_report(evaluation: Evaluation) -> str:
    """The HTML of report.html. Whatever came from outside is escaped; nothing refers to another file or host."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "figure": words.format_figure,
        "signed": words.format_signed,
        "percent": words.format_percent,
        "interval": words.format_interval,
        "count": words.format_count,
        "capitalised": words.capitalise,
    }
    environment.globals |= _words()
    told = [found for part in STORY if (found := part.section(evaluation)) is not None]
    settings = yaml.safe_dump(evaluation.settings, sort_keys=False, allow_unicode=True, width=100)
    told += [
        Section("record", "What this rests on", _RECORD, {"settings": settings}),
        Section("reading", "How to read this", _READING, {}),
    ]
    return environment.get_template("page.html").render(
        evaluation=evaluation,
        metrics=evaluation.metrics,
        groups=group_noun(evaluation.metrics),
        stats=stats(evaluation.metrics),
        sections=told,
    )


def _words() -> dict[str, Any]:
    """What every template may name."""
    return {
        "colours": COLOURS,
        "families": FAMILIES,
        "blank": BLANK,
        "scorers": SCORERS,
        "meanings": words.MEANINGS,
        "figures": words.FIGURES,
        "retrieval_figures": words.RETRIEVAL,
        "thesis_figures": words.THESIS_FIGURES,
        "splits": words.SPLITS,
        "levels": words.LEVELS,
        "tiers": words.TIERS,
        "reasons": REASONS,
    }
