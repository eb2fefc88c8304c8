"""Benchmarks of the real models' stages, on tiny random weights: both sides run, and the report adds up."""

import json
from typing import Any

import pytest

from jobs import bench

pytestmark = pytest.mark.models

SMALL = ("letterbox.sizes=[128]", "generate.size=128", "embed.size=128", "num_rows=4", "num_runs=2")


def measured(capfd: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    bench.main([*words, "--random-weights", "--tiny", *SMALL])
    report: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert (report["name"], report["unit"], report["num_rows"]) == (words[0], "rows/s", 4)
    assert report["ours"] > 0
    assert report["peak_gb"] > 0
    return report


@pytest.mark.parametrize(
    "words",
    [
        ("caption", "--against", "one_at_a_time", "caption.max_new_tokens=20"),
        ("generate", "--against", "thesis", "generate.num_inference_steps=3"),
        ("generate", "--against", "plain", "generate.num_inference_steps=3"),
    ],
    ids=lambda words: "-".join(words[:3:2]),
)
def test_ours_is_measured_beside_the_plain_way(words: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    report = measured(capfd, *words)
    assert report["against"] == words[2]
    assert len(report["runs"]) == 2
    for run in report["runs"]:
        assert run["ratio"] == pytest.approx(run["ours"] / run["reference"], rel=2e-3)
    share = report["ours"] * report["tflop_per_row"] / report["matrix_tflops"]
    assert report["share_of_matrix_rate"] > 0
    assert share > 0
    if words[0] == "caption":
        assert report["tokens_per_s"] == pytest.approx(20 * report["ours"], rel=1e-3)


def test_errors_are_measured_against_float32(capfd: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "--against", "float32", "--random-weights", "--tiny", *SMALL, "generate.num_inference_steps=5"]
    bench.main(words)
    report = json.loads(capfd.readouterr().out)
    # Eight bits of mantissa leave an error, and sharing text and latents adds none to speak of.
    assert 1e-4 < report["reference"] < 0.05
    assert 0.8 < report["ratio"] < 1.2


def test_features_are_measured_with_and_without_decoding(capfd: pytest.CaptureFixture[str]) -> None:
    report = measured(capfd, "embed")
    assert report["decoded_rows_per_s"] > 0
    assert report["tflop_per_row"] > 0


def test_prompts_are_measured_in_tokens_that_the_engine_wrote(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("vllm")
    report = measured(capfd, "prompt", "prompt.max_new_tokens=32")
    assert 0 < report["tokens_per_row"] <= 2 * 32
    assert report["tokens_per_s"] == pytest.approx(report["ours"] * report["tokens_per_row"], rel=2e-3)
    operations = report["ours"] * report["tflop_per_row"]
    assert report["share_of_matrix_rate"] == pytest.approx(operations / report["matrix_tflops"], rel=5e-3)
    assert report["share_of_matrix_rate"] > 0


def test_what_cannot_be_compared_is_refused() -> None:
    for words in (["embed", "--against", "thesis"], ["caption", "--against", "plain"]):
        with pytest.raises(SystemExit, match="against"):
            bench.main(words)
