"""Both sides of each benchmark, in small: they do the same work, and the report says how fast."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from artsim.config import TIERS
from jobs import bench
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The benchmark of training sets the number of threads for good."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def check(report: dict[str, Any]) -> None:
    assert report["ratio"] == report["runs"][0]["ratio"]
    for run in report["runs"]:
        assert run["ratio"] == pytest.approx(run["ours"] / run["reference"], rel=2e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("against", "setting", "told"),
    [
        ("pool", "resampler=torch", "sha256"),
        ("thesis", "resampler=pillow", "sha256"),
        ("thesis", "resampler=torch", "mean_bytes"),
        ("thesis", "dct_scaling=true", "num_files"),
    ],
)
def test_resize_writes_the_same_squares_on_both_sides(
    against: str, setting: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["num_paintings=5", "copies=2", "num_runs=1", f"against={against}"]
    sizes = ["letterbox.sizes=[96, 64]", "generate.size=64", "embed.size=64", "gallery.max_side_px=400"]
    bench.main(["resize", *own, *sizes, "letterbox.workers.num_workers=2", f"letterbox.{setting}"])
    report = json.loads(capsys.readouterr().out)
    assert (report["name"], report["unit"], report["num_images"]) == ("resize", "images/s", 10)
    work = report["runs"][0]["work"]
    assert set(work["ours"]) == {"num_files", told}
    assert work["ours"] == (work["reference"] if told == "sha256" else pytest.approx(work["reference"], rel=1e-3))
    assert work["ours"]["num_files"] == 20
    check(report)


@pytest.mark.slow
def test_resume_goes_on_with_the_parts_that_were_lost() -> None:
    # A program: the benchmark ends the Ray that it runs on.
    command = [sys.executable, "jobs/bench.py", "resume", "num_rows=3000", "share_missing=0.1"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    (run,) = report["runs"]
    assert run["rows"] == 3000
    assert 0 < run["new_rows"] < 1000
    assert 0 < report["ours"] < run["seconds"]
    assert 0.1 < report["peak_memory_gb"] < 6
    assert len(report["fill_memory_gb"]) == 4


def test_train_learns_the_same_on_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    bench.main(["train", "num_triplets=4", "num_epochs=2", "num_runs=1", "training.batch_size=2"])
    report = json.loads(capsys.readouterr().out)
    assert (report["name"], report["unit"], report["num_pictures"]) == ("train", "triplets/s", 12)
    assert (report["num_weights"], report["batch_size"]) == (4_731_904 + 1, 2)
    for preset in (report, report["tokens"]):
        check(preset)
        work = preset["runs"][0]["work"]
        assert work["ours"]["loss"] == pytest.approx(work["reference"]["loss"], rel=1e-3)


def test_evaluate_judges_every_scorer_with_its_calibration(capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["evaluate", "num_paintings=100", "num_artists=40", "size=16", "evaluation.num_draws=100"])
    report = json.loads(capsys.readouterr().out)
    assert (report["name"], report["unit"], report["is_calibrated"]) == ("evaluate", "s", True)
    # 30 judged paintings of two levels meet four negatives of each tier; ten scorers, by level, tier and approaches.
    assert report["num_triplets"] == 30 * 2 * 4 * len(TIERS)
    assert report["num_rows"] > 10 * 2 * len(TIERS)
    assert report["peak_gb"] > 0


def test_search_finds_what_brute_force_finds(capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["search", "num_paintings=2000", "size=32", "num_queries=10"])
    report = json.loads(capsys.readouterr().out)
    assert (report["name"], report["unit"], report["factory"], report["recall"]) == ("search", "ms", "Flat", 1.0)
    assert report["num_left"]["all"] == 2000 > report["num_left"]["genre"] > report["num_left"]["artist"] > 0
    assert 0 < report["ours"] == report["runs"]["all"]["p50"] <= report["runs"]["all"]["p99"]
    assert report["file_mb"] > 2000 * 32 * 4 / 1e6


def test_a_misspelt_name_or_setting_is_one_sentence() -> None:
    for argv, message in (
        ([], f"NAME is one of {', '.join(bench.BENCHMARKS)}, not ''"),
        (["resise"], f"NAME is one of {', '.join(bench.BENCHMARKS)}, not 'resise'"),
        (["resize", "num_run=3"], "num_run = 3: no such setting; known are against, source, num_paintings"),
        (["train", "num_runs=0"], "num_runs = 0: Input should be greater than or equal to 1"),
        (["train", "num_runs"], "num_runs: write key=value"),
    ):
        with pytest.raises(SystemExit, match=message):
            bench.main(argv)
