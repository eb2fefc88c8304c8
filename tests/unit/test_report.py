"""The report as a reader's program sees it: its tables, its references, and what is missing."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from artsim.baselines import SCORERS
from artsim.report import Evaluation, write_report
from artsim.report.compare import Cell, by_scorer, cells
from artsim.report.words import (
    FIGURES,
    LEVELS,
    RETRIEVAL,
    TIERS,
    format_count,
    format_figure,
    format_interval,
    format_signed,
    join,
)
from tests.unit.report_sample import calibration, evaluation, metrics, retrieval, robustness, rows, shortcuts

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Rows of each captioned table as texts, all attributes, and all text; fails on tags that do not match.

    An interval stands in braces behind its figure, and a cell's class of best or tied in brackets.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.sections: list[str] = []
        self.marks: dict[str, list[str]] = {}
        self.text = ""
        self._rows: list[list[str]] = []
        self._table = ""
        self.feed(html)
        self.close()
        assert not self.open, self.open
        self.text = re.sub(r"[ \n]+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.attributes += [(tag, name, value) for name, value in found.items()]
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "h2":
            self.sections.append(found["id"])
        if tag == "caption":
            self._table = found.get("id", "")
            self._rows = self.tables[self._table] = []
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")
            self.marks.setdefault(self._table, []).extend({"best", "tied"} & set(found.get("class", "").split()))
        if tag == "span" and "ci" in found.get("class", "") and self._rows:
            self._rows[-1][-1] += " "

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
            self._rows[-1][-1] += re.sub(r"[ \n]+", " ", data).strip(" ").replace("≈", "")

    def blocks(self, table: str) -> dict[str, dict[str, list[str]]]:
        """Cells by block and first cell of a table whose blocks have a row of their own."""
        found: dict[str, dict[str, list[str]]] = {}
        for row in self.tables[table][1:]:
            if len(row) == 1:
                block = found[row[0]] = {}
            else:
                block[row[0]] = row[1:]
        return found


def printed(row: dict[str, Any], figure: str) -> str:
    """A figure and its interval as the page must show them."""
    value, (low, high) = row[figure], row["intervals"][figure]
    numbers = [f"{round(number, 3) + 0:.3f}".replace("-", "−") for number in (value, low, high)]
    dash = " to " if "−" in "".join(numbers[1:]) else "–"
    return f"{numbers[0]} {dash.join(numbers[1:])}"


@pytest.fixture(scope="module")
def html() -> str:
    return write_report(evaluation())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


NOTHING = dict.fromkeys(("shortcuts", "robustness", "subscores", "calibration"))


def unmeasured(**changed: Any) -> dict[str, Any]:
    """Metrics without rows, but for those that are given."""
    return metrics() | NOTHING | {"rows": [], "retrieval": []} | changed


def bare(changed: dict[str, Any]) -> Page:
    """The page of nothing but metrics."""
    return Page(write_report(Evaluation(changed, [], {}, [], {}, [], {}, [])))


def test_the_story_is_told_in_its_order(page: Page) -> None:
    text = page.text
    assert "beat the frozen features? Yes. On 285 test paintings of 21 artists" in text
    assert page.sections == [
        *("finding", "tiers", "baselines", "thesis", "shortcuts", "robustness", "subscores", "meaning"),
        *("mistakes", "curves", "model_card", "record", "reading"),
    ]
    links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert links == [f"#{section}" for section in page.sections]
    for part in ("12 bytes & no more", "the file ends before the picture does", "where BLIP-2 would look", "- 1024"):
        assert part in text
    assert page.tables["table-tables"][1] == ["resized", "288", "1\u202f287", "1", "9f2c"]


def test_the_top_carries_figures_with_intervals_and_n(page: Page) -> None:
    text = page.text.partition("Contents")[0]
    found = {(row["level"], row["scorer"]): row for row in retrieval() if row["approaches"] == "all"}
    for level in ("both", "radical"):
        head, other = found[level, "model"], found[level, "frozen_whitened"]
        gain = other["head_gain"]["recall@1"]
        value, interval = printed(head, "recall@1").split()
        assert f"{value} 95% {interval}" in text
        assert f"Frozen, whitened: {printed(other, 'recall@1').replace(' ', ' (')})" in text
        assert f"+{gain['value']:.3f} in pairs, 95% {gain['interval'][0]:.3f}–{gain['interval'][1]:.3f}" in text
        assert f"n = {head['n']} of 21 artists" in text
    assert "Triplet accuracy, radical, nearest negatives" in text


def test_every_search_is_in_its_table(page: Page) -> None:
    blocks = page.blocks("table-retrieval")
    for (name, lines), level in zip(blocks.items(), ("radical", "moderate", "both"), strict=True):
        found = by_scorer(retrieval(), level=level)
        counts = f"n = {found['model']['n']} searches of 21 artists, gallery of 1\u202f285"
        assert name == f"{LEVELS[level]}{counts}; mAP: n = {found['model']['num_paintings']} paintings"
        assert list(lines) == list(SCORERS.values())
        for scorer, row in found.items():
            assert lines[SCORERS[scorer]] == [printed(row, figure) for figure in RETRIEVAL]


@pytest.mark.parametrize("table", ["moderate", "radical", "radical-trained", "radical-held_out"])
def test_every_figure_of_the_rows_is_in_the_table_of_its_level(page: Page, table: str) -> None:
    blocks = page.blocks(f"table-rows-{table}")
    level, _, approaches = table.partition("-")
    for (name, lines), (tier, (short, _)) in zip(blocks.items(), TIERS.items(), strict=True):
        found = by_scorer(rows(), level=level, tier=tier, approaches=approaches or "all")
        counts = f"n = {format_count(found['model']['n'])} of 21 artists"
        missing = f", {found['model']['missing']} without a negative" if found["model"]["missing"] else ""
        assert name == f"Negative: {short}{counts}{missing}"
        for scorer, row in found.items():
            assert lines[SCORERS[scorer]] == [printed(row, figure) for figure in FIGURES]


def test_the_baselines_share_one_table_with_n_of_each_column(page: Page) -> None:
    blocks = page.blocks("table-baselines")
    assert list(blocks) == ["Radical versions", "Moderate versions"]
    lines = blocks["Radical versions"]
    searches = by_scorer(retrieval(), level="radical")
    triplets = {tier: by_scorer(rows(), level="radical", tier=tier) for tier in TIERS}
    assert lines["n"] == ["284"] * 3 + [format_count(found["model"]["n"]) for found in triplets.values()]
    for scorer, name in SCORERS.items():
        shown = [printed(searches[scorer], figure) for figure in ("recall@1", "mrr", "map")]
        assert lines[name] == shown + [printed(found[scorer], "triplet_accuracy") for found in triplets.values()]
    assert page.marks["table-baselines"].count("best") == 2 * 10
    assert page.marks["table-baselines"].count("tied") > 0


def test_the_theses_figures_stand_beside_ours(page: Page) -> None:
    ours = ("0.981 0.970–0.992", "0.791 0.780–0.802", "0.052 0.041–0.063", "0.739 0.728–0.750")
    assert page.tables["table-thesis"][1:] == [
        ["A, 70/15/15", "this model", *ours, "569"],
        ["A, 70/15/15", "▽thesis", "0.994", "0.824", "0.146", "0.677", "–"],
        ["B, 80/10/10", "this model", "–", "–", "–", "–", "–"],
        ["B, 80/10/10", "▽thesis", "0.985", "0.848", "0.385", "0.463", "–"],
    ]
    assert "Not evaluated here: configuration B, 80/10/10." in page.text


def test_held_out_approaches_stand_beside_the_trained_ones(page: Page) -> None:
    blocks = page.blocks("table-approaches")
    titles = {"trained": "Approaches that training saw", "held_out": "Approaches held out of training"}
    assert list(blocks) == [f"{title}: radical versions" for title in titles.values()]
    for lines, approaches in zip(blocks.values(), titles, strict=True):
        found = by_scorer(retrieval(), level="radical", approaches=approaches)
        for scorer, row in found.items():
            assert lines[SCORERS[scorer]][:3] == [printed(row, figure) for figure in ("recall@1", "mrr", "map")]


def test_shortcuts_are_shown_with_their_intervals(page: Page) -> None:
    blocks = page.blocks("table-framings")
    assert list(blocks) == ["Trained head", "Frozen, mean removed"]
    lines = blocks["Trained head"]
    assert lines["content alone"] == ["0.940 0.920–0.960", "–", "0.940 0.910–0.970", "no", "600", "21"]
    noise = ["0.503 0.483–0.523", "−0.437 −0.457 to −0.417", "0.503 0.473–0.533", "yes", "600", "21"]
    assert lines["noise, cropped"] == noise
    assert blocks["Frozen, mean removed"]["noise in bars"][0] == "0.860 0.840–0.880"
    assert page.tables["table-cues"][1:] == [
        ["bytes of the file", "61\u202f240", "58\u202f810", "0.440 0.420–0.460", "0.560", "569", "2"],
        ["JPEG quality", "92", "95", "0.970 0.950–0.990", "0.970", "569", "2"],
        ["width over height", "0.83", "0.83", "0.500 0.480–0.520", "0.500", "569", "2"],
        ["phash", "–", "–", "–", "–", "0", "571"],
    ]
    assert "AUC 0.503, 95% interval 0.483–0.523, which holds 0.50" in page.text
    assert "proportions, still gives away 0.790." in page.text


def test_noise_that_speaks_is_said_to() -> None:
    loud = [row | {"chance": False} for row in shortcuts()["framings"]]
    assert "which does not hold 0.50" in bare(unmeasured(shortcuts={"framings": loud, "file_cues": []})).text


def test_every_edit_has_its_figures(page: Page) -> None:
    edits = robustness()["edits"]
    lines = page.tables["table-edits"][1:]
    assert [line[0] for line in lines[:5]] == ["crop 90%", "crop 75%", "crop 50%", "JPEG quality 90", "JPEG quality 60"]
    for row, line in zip(edits, lines, strict=True):
        intervals = {name: row[f"{name}_interval"] for name in ("mean", "first", "above_unrelated")}
        shown = [printed(row | {"intervals": intervals}, name) for name in intervals]
        assert line[1:] == [*shown, "500", "21"]
    worst = min(edits, key=lambda row: row["first"])
    assert f"worst: {worst['first']:.1%} do" in page.text
    assert robustness()["expectation"] in page.text


def test_a_sub_score_that_fails_is_said_to_be_left_out(page: Page) -> None:
    lines = {line[0]: line[1:] for line in page.tables["table-evidence"][1:]}
    assert list(lines) == [
        *("left-right flip", "patches shuffled 4 × 4", "hue turned 60°", "painted in another style"),
        "another painting by the same hand",
    ]
    cells = ["0.31 0.25–0.37✗ must stay quiet", "1.40 1.34–1.46✓ must react", "0.20 0.14–0.26✓ must stay quiet", "90"]
    assert lines["hue turned 60°"] == cells
    text = page.text
    assert "Style reacts to what the name says and to nothing else. Composition and semantics are left out" in text
    assert "✗ left out: it fails on hue turned 60°." in text


def test_the_probability_is_checked_and_its_prior_and_mix_stated(page: Page) -> None:
    text = page.text
    for part in (
        *("off by 0.018 on average (ECE), no worse than", "up to 0.024 at this n", "Brier score0.041"),
        *("n = 569", "n = 1\u202f705: 40% unrelated pairs, 40% pairs of one genre and 20% pairs by one artist"),
        "25.0% are versions",
    ):
        assert part in text
    bins = calibration()["bins"]
    assert page.tables["table-reliability"][1:] == [
        [f"{row['predicted']:.3f}", f"{row['share']:.3f}", format_interval(row["interval"]), str(row["n"])]
        for row in bins
    ]
    unrelated = calibration()["percentiles"]["other_genre"]
    middle, high = (f"{np.quantile(unrelated, level) + 0:z.3f}" for level in (0.5, 0.99))
    assert page.tables["table-percentiles"][1][:2] == ["unrelated pairs", middle]
    assert page.tables["table-percentiles"][1][4] == high


def test_the_best_is_marked_and_what_is_not_told_apart_from_it() -> None:
    gain = {"head_gain": {"auc": {"value": 0.01, "interval": [-0.01, 0.03]}}}
    clear = {"head_gain": {"auc": {"value": 0.2, "interval": [0.1, 0.3]}}}
    found = {"model": {"auc": 0.9}, "frozen": {"auc": 0.89, **gain}, "bars": {"auc": 0.7, **clear}}
    assert [cell.mark for cell in cells(found, "auc").values()] == ["best", "tied", ""]
    behind = {"model": {"auc": 0.88}, "frozen": {"auc": 0.89, **gain}, "bars": {"auc": 0.7, **clear}}
    assert [cell.mark for cell in cells(behind, "auc").values()] == ["tied", "best", ""]


def test_two_baselines_are_tied_where_their_intervals_overlap() -> None:
    found = {
        "model": {"auc": 0.5},
        "frozen": {"auc": 0.9, "intervals": {"auc": [0.85, 0.95]}, "head_gain": {"auc": {"interval": [-0.5, -0.3]}}},
        "style": {"auc": 0.8, "intervals": {"auc": [0.75, 0.86]}},
        "bars": {"auc": 0.7, "intervals": {"auc": [0.6, 0.8]}},
    }
    assert [cell.mark for cell in cells(found, "auc").values()] == ["", "best", "tied", ""]


def test_less_is_better_for_errors_and_nothing_is_best_of_similarities() -> None:
    found = by_scorer(rows(), level="radical", tier="any")
    errors = cells(found, "eer")
    assert [name for name, cell in errors.items() if cell.mark == "best"] == [
        min(found, key=lambda name: found[name]["eer"])
    ]
    assert not any(cell.mark for cell in cells(found, "mean_negative").values())


def test_equals_in_print_are_equally_good() -> None:
    values = {"model": 0.90004, "frozen": 0.9, "frozen_centred": math.nan}
    found = {scorer: {"auc": value} for scorer, value in values.items()}
    assert list(cells(found, "auc").values()) == [Cell("0.900", "", "best"), Cell("0.900", "", "best"), Cell("–")]


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
    painting, other = "Baroque/artist-0_a-house-by-the-river-in-winter", "Cubism/artist-1_still-life"
    assert alts[:3] == [f"Painting {painting}", f"Radical version of {painting}", f"Painting {other}"]
    assert alts[5] == "Radical version of Cubism/artist-2_still-life"
    assert "✗ its painting came at rank 2" in Page(html).text
    sizes = [int(value) for tag, name, value in page.attributes if tag == "img" and name in ("width", "height")]
    assert sizes[:6] == [240, 120, 120, 240, 64, 64]
    assert len(html) < 1_000_000


def test_plots_are_named_and_tables_and_regions_have_captions(page: Page) -> None:
    plots = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    # finding, tiers, baselines, framings, edits, reliability and ranks, histograms, curves
    assert len(plots) == len(set(plots)) == 2 + 2 + 2 + 1 + 11 + 2 + 2 + 2
    assert page.tags.count("table") == page.tags.count("caption")
    ids = [value for _, name, value in page.attributes if name == "id"]
    labels = [value for _, name, value in page.attributes if name == "aria-labelledby"]
    assert set(labels) <= set(ids)


def test_ids_are_unique_and_headings_in_order(page: Page) -> None:
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_a_no_is_as_plain() -> None:
    assert "beat the frozen features? No." in bare(unmeasured(beats_frozen=False)).text


def test_the_same_evaluation_gives_the_same_page(html: str) -> None:
    assert write_report(evaluation()) == html


def test_what_came_from_outside_is_escaped() -> None:
    evil = "<script>alert(1)</script>\"'&"
    example = dataclasses.replace(evaluation().examples[0], painting=evil, negative=evil, prompt=evil)
    row = {"table": evil, "id": evil, "reason": evil, "message": evil}
    changed = dataclasses.replace(
        evaluation(),
        metrics=unmeasured(model=evil, run=evil, verdict=evil),
        history=[],
        similarities={},
        examples=[example],
        tables={evil: {"expected": None, "done": 0, "quarantined": {evil: 1}}},
        quarantine=[row],
        settings={"source": {"uri": evil}, "embed": {"model": {"id": evil, "revision": evil}}},
        stand_ins=[evil],
    )
    html = write_report(changed)
    assert "<script" not in html
    assert Page(html).text.count("<script>alert(1)</script>") >= 16


@pytest.mark.parametrize("missing", [("thesis_head", "random_head", "style"), ("phash", "colours", "bars")])
def test_scorers_that_were_not_measured_are_left_out(missing: tuple[str, ...]) -> None:
    kept = [row for row in retrieval() if row["scorer"] not in missing and row["level"] == "radical"]
    page = bare(unmeasured(retrieval=kept))
    lines = page.blocks("table-baselines")["Radical versions"]
    assert list(lines) == ["n", *(name for scorer, name in SCORERS.items() if scorer not in missing)]


@pytest.mark.filterwarnings("error")
def test_missing_values_are_dashes_and_empty_parts_are_said_to_be_empty() -> None:
    nothing = unmeasured(best_epoch=None, thesis={}, configurations={}, splits={})
    nothing["rows"] = [
        {name: row[name] for name in ("scorer", "level", "tier", "approaches", "groups")}
        | {"n": 0, "missing": 43}
        | dict.fromkeys(FIGURES, None if row["scorer"] == "model" else math.nan)
        for row in rows()
        if row["approaches"] == "all"
    ]
    page = bare(nothing)
    for lines in page.blocks("table-rows-radical").values():
        assert list(lines.values()) == [["–"] * len(FIGURES)] * len(SCORERS)
    assert not any(page.marks.values())
    assert not {"thesis", "shortcuts", "robustness", "subscores"} & set(page.sections)
    for sentence in (
        *("No search was measured", "No triplet was measured", "No two scorers", "was not calibrated"),
        *("No epoch was recorded", "No similarities", "No examples", "Nothing: no row", "None: every step"),
    ):
        assert sentence in page.text
    assert "No triplet was measured" in bare(unmeasured()).text


def test_one_epoch_and_one_constant_similarity_can_be_drawn() -> None:
    short = dataclasses.replace(evaluation(), metrics=unmeasured(), history=evaluation().history[:1], examples=[])
    same = {name: np.full(3, 0.5, np.float32) for name in short.similarities}
    page = Page(write_report(dataclasses.replace(short, similarities=same)))
    assert page.tags.count("figure") == 2


def test_figures_in_print() -> None:
    values = (0.98765, -0.0004, -0.25, 1, None, math.nan)
    assert [format_figure(value) for value in values] == ["0.988", "0.000", "−0.250", "1.000", "–", "–"]
    assert [format_signed(value) for value in (0.25, -0.25, 0.0004, None)] == ["+0.250", "−0.250", "0.000", "–"]
    assert [format_count(value) for value in (0, 81444, None)] == ["0", "81\u202f444", "–"]
    assert format_interval([0.1, 0.25]) == "0.100–0.250"
    assert format_interval([-0.1, 0.25]) == "−0.100 to 0.250"
    assert format_interval([0.1, 0.25], percent=True) == "10.0%–25.0%"
    assert format_interval([None, 0.25]) == format_interval(None) == ""
    assert [join(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((0.02, 0.1), "It transfers: there too the trained head beats"),
        ((-0.02, 0.1), "It does not transfer: there the trained head is not told apart"),
        ((-0.1, -0.02), "It does not transfer: there the trained head does worse"),
    ],
)
def test_pairs_of_another_root_tell_whether_it_transfers(gain: tuple[float, float], said: str) -> None:
    searches = retrieval()
    for row in searches:
        if row["scorer"] == "frozen_centred":
            row["head_gain"]["recall@1"]["interval"] = gain
    other = {"num_paintings": 64, "num_seen": 40, "retrieval": searches, "best_baseline": "frozen_centred"}
    page = Page(write_report(dataclasses.replace(evaluation(), metrics=metrics() | {"elsewhere": other})))
    assert page.sections.index("elsewhere") == page.sections.index("thesis") + 1
    assert said in page.text
    assert "training knew 40 of the paintings" in " ".join(page.text.split())
    assert page.tables["table-elsewhere"]
