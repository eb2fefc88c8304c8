"""The report as a reader's program sees it: its tables, its references, and what is missing."""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from artsim.report import SCORERS, TIERS, Evaluation, Example, compare, format_count, format_figure, write_report

VOID = {"meta", "link", "img", "br"}
FIGURES = ("triplet_accuracy", "gap", "auc", "mean_positive", "mean_negative")


class Page(HTMLParser):
    """Rows of each captioned table as texts, all attributes, and all text; fails on tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.bold: list[str] = []
        self.text = ""
        self._rows: list[list[str]] = []
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "caption":
            self._rows = self.tables[dict(attrs).get("id") or ""] = []
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")
            self.bold += ["best"] if "best" in (dict(attrs).get("class") or "") else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if "td" in self.open or "th" in self.open:
            self._rows[-1][-1] += data.strip()


def jpeg(width: int, height: int) -> bytes:
    pixels = np.random.default_rng(width).integers(0, 255, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def metrics() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    cases = [(split, level) for split in ("val", "test") for level in ("moderate", "radical")]
    rows = [
        {"scorer": scorer, "split": split, "level": level, "tier": tier, "n": 43, "missing": 2, "interval": (0.6, 0.9)}
        | dict(zip(FIGURES, rng.uniform(-1, 1, 5).tolist(), strict=True))
        for split, level in cases
        for tier in TIERS
        for scorer in SCORERS
    ]
    recall = [
        {"scorer": scorer, "split": split, "level": level, "n": 43, "gallery": 1044}
        | {"recall": dict(zip(("1", "5", "10"), sorted(rng.uniform(0, 1, 3).tolist()), strict=True))}
        for split, level in cases
        for scorer in SCORERS
    ]
    return {
        "model": "a70",
        "run": "a70-9f2c",
        "configuration": "a70",
        "preset": "tokens",
        "loss": "infonce",
        "num_epochs": 3,
        "best_epoch": 1,
        "group_by": "artist",
        "rows": rows,
        "recall": recall,
        "splits": {
            name: {"paintings": size, "groups": 9} for name, size in (("train", 201), ("val", 44), ("test", 43))
        },
        "thesis": {"a70": {"triplet_accuracy": 0.994, "mean_positive": 0.824, "mean_negative": 0.146, "gap": 0.677}},
        "verdict": "On 43 test paintings the trained head wins.",
        "beats_frozen": True,
    }


def evaluation() -> Evaluation:
    rng = np.random.default_rng(1)
    history = [
        {"epoch": epoch, "lr": 3e-4, "loss": 1.0, "triplet_accuracy": 0.9, "temperature": 0.07, "seconds": 2.0}
        | {"val_loss": 1.1, "val_triplet_accuracy": 0.8}
        for epoch in range(3)
    ]
    names = [f"{scorer}/{kind}" for scorer in ("model", "frozen") for kind in ("positive", "negative")]
    images = (jpeg(600, 300), jpeg(300, 600), jpeg(64, 64))
    return Evaluation(
        metrics(),
        history,
        {name: rng.uniform(-1, 1, 50) for name in names},
        [
            Example(kind, "any", "radical", "Baroque/a_b", "Cubism/c_d", images, 0.8, 0.1, 0.9, 0.7, "A <b>night</b>")
            for kind in ("best", "worst", "random")
        ],
        {"resized": {"expected": 288, "done": 1287, "quarantined": {"truncated": 1}, "recipe": "9f2c"}},
        [{"table": "resized", "id": "Baroque/x_y", "reason": "truncated", "message": "12 bytes & no more"}],
        {"root": "runs/demo", "letterbox": {"sizes": (1024, 768)}},
        ["Captions: measured pixel facts (stand-in for BLIP-2)"],
    )


@pytest.fixture(scope="module")
def html() -> str:
    return write_report(evaluation())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_every_figure_of_the_rows_is_in_the_table(page: Page) -> None:
    table = page.tables["table-rows"]
    bodies = [row for row in table if len(row) == 3 + 3 * len(FIGURES)]
    groups = [row[0] for row in table if len(row) == 1]
    assert groups == ["Test, moderate", "Test, radical", "Validation, moderate", "Validation, radical"]
    order = [(s, level, t) for s in ("test", "val") for level in ("moderate", "radical") for t in TIERS]
    by_key = {(row["split"], row["level"], row["tier"], row["scorer"]): row for row in metrics()["rows"]}
    for (split, level, tier), cells in zip(order, bodies, strict=True):
        found = [by_key[split, level, tier, scorer] for scorer in SCORERS]
        figures = [f"{round(row[figure], 3) + 0:.3f}".replace("-", "−") for figure in FIGURES for row in found]
        assert cells == [TIERS[tier][0], "43", "2", *figures]


def test_recall_and_the_theses_figures(page: Page) -> None:
    first = next(row for row in metrics()["recall"] if row["split"] == "test" and row["scorer"] == "model")
    moderate = next(row for row in page.tables["table-recall"] if row[0] == "moderate")
    assert moderate[1:3] == ["43", "1\u202f044"]
    assert moderate[3::3] == [f"{value:.3f}" for value in first["recall"].values()]
    thesis = next(row for row in page.tables["table-headline"] if row[0].startswith("Thesis"))
    assert thesis == ["Thesis, A 70/15/15", *["–"] * 5, "0.994", "0.824", "0.146", "0.677", "–"]


def test_the_best_of_three_is_marked_where_more_is_better() -> None:
    line = compare(metrics()["rows"], FIGURES)[0]
    rows = [
        row for row in metrics()["rows"] if (row["split"], row["level"], row["tier"]) == ("test", "moderate", "any")
    ]
    for figure in ("triplet_accuracy", "gap", "auc"):
        best = max(row[figure] for row in rows)
        assert [cell.best for cell in line.cells[figure]] == [row[figure] == best for row in rows]
    assert not any(cell.best for cell in line.cells["mean_negative"])


def test_equals_in_print_are_equally_good() -> None:
    shared = {"split": "test", "level": "radical", "tier": "any", "n": 9}
    values = {"model": 0.90004, "frozen": 0.9, "frozen_centred": math.nan}
    rows = [{**shared, "scorer": scorer, "auc": value} for scorer, value in values.items()]
    assert compare(rows, ["auc"])[0].cells["auc"] == [("0.900", True), ("0.900", True), ("–", False)]


def test_nothing_refers_to_anything_outside(html: str, page: Page) -> None:
    for tag, name, value in page.attributes:
        if name.split(":")[-1] in ("src", "href", "srcset", "action", "data", "poster"):
            assert value.startswith(("data:", "#")), (tag, name, value)
    assert "@import" not in html
    assert "http" not in re.sub('base64,[^"]*', "", html)
    assert not re.search(r"url\(\s*['\"]?(?!#)", html)
    assert "script" not in page.tags


def test_pictures_are_small_and_described(html: str, page: Page) -> None:
    alts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert alts[:3] == ["Painting Baroque/a_b", "Radical version of Baroque/a_b", "Radical version of Cubism/c_d"]
    sizes = [(n, int(v)) for t, n, v in page.attributes if t == "img" and n in ("width", "height")]
    assert sizes[:6] == [
        ("width", 320),
        ("height", 160),
        ("width", 160),
        ("height", 320),
        ("width", 64),
        ("height", 64),
    ]
    plots = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(plots) == 6  # two levels, two curves, two histograms
    assert len(html) < 500_000


def test_ids_are_unique_and_headings_in_order(page: Page) -> None:
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_what_the_page_tells(page: Page) -> None:
    text = " ".join(page.text.split())
    assert "beat the frozen features? Yes. On 43 test paintings the trained head wins." in text
    assert text.index("Yes.") < text.index("The thesis’s table") < text.index("How to read this")
    for part in ("12 bytes & no more", "the file ends before the picture does", "stand-in for BLIP-2", "- 1024"):
        assert part in text
    assert page.tables["table-tables"][1] == ["resized", "288", "1\u202f287", "1", "9f2c"]


def test_a_no_is_as_plain() -> None:
    lost = dataclasses.replace(
        evaluation(), metrics=metrics() | {"beats_frozen": False}, history=[], similarities={}, examples=[]
    )
    assert "beat the frozen features? No." in Page(write_report(lost)).text


def test_the_same_evaluation_gives_the_same_page(html: str) -> None:
    assert write_report(evaluation()) == html


def test_what_came_from_outside_is_escaped() -> None:
    evil = "<script>alert(1)</script>\"'&"
    example = dataclasses.replace(evaluation().examples[0], painting=evil, prompt=evil)
    row = {"table": evil, "id": evil, "reason": evil, "message": evil}
    changed = dataclasses.replace(
        evaluation(),
        metrics=metrics() | {"model": evil, "verdict": evil},
        history=[],
        similarities={},
        examples=[example],
        tables={evil: {"expected": None, "done": 0, "quarantined": {evil: 1}}},
        quarantine=[row],
        settings={"source": {"uri": evil}},
        stand_ins=[evil],
    )
    html = write_report(changed)
    assert "<script" not in html
    assert Page(html).text.count("<script>alert(1)</script>") >= 10


@pytest.mark.filterwarnings("error")
def test_missing_values_are_dashes_and_empty_parts_are_said_to_be_empty() -> None:
    nothing = metrics() | {"best_epoch": None, "recall": [], "thesis": {}, "splits": {}, "configuration": "mine"}
    nothing["rows"] = [
        row | {"n": 0, "missing": 43} | dict.fromkeys(FIGURES, None if row["scorer"] == "model" else math.nan)
        for row in nothing["rows"]
    ]
    page = Page(write_report(Evaluation(nothing, [], {}, [], {}, [], {}, [])))
    for cells in page.tables["table-rows"]:
        assert len(cells) != 18 or cells[1:] == ["0", "43", *["–"] * 15]
    assert "best" not in page.bold
    for sentence in ("No epoch was recorded", "No similarities", "No examples", "Nothing: no row", "None: every step"):
        assert sentence in page.text
    unmeasured = nothing | {"rows": []}
    assert "Nothing was measured" in Page(write_report(Evaluation(unmeasured, [], {}, [], {}, [], {}, []))).text


def test_one_epoch_and_one_constant_similarity_can_be_drawn() -> None:
    short = dataclasses.replace(evaluation(), history=evaluation().history[:1], examples=[])
    same = {name: np.full(3, 0.5, np.float32) for name in short.similarities}
    page = Page(write_report(dataclasses.replace(short, similarities=same)))
    assert page.tags.count("figure") == 3


def test_figures_in_print() -> None:
    values = (0.98765, -0.0004, -0.25, 1, None, math.nan)
    assert [format_figure(value) for value in values] == ["0.988", "0.000", "−0.250", "1.000", "–", "–"]
    assert [format_count(value) for value in (0, 81444, None)] == ["0", "81\u202f444", "–"]
