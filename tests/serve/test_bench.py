"""`jobs/bench.py serve`: the service and a plain server under the same small load."""

import json
from pathlib import Path

import pytest

from jobs import bench

BRIEF = ("num_replicas=2,1", "concurrency=1,4", "num_runs=1", "seconds=1")


@pytest.mark.slow
def test_all_servers_give_the_same_answers(served_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["serve", f"model={served_root}/models/a70", *BRIEF])
    report = json.loads(capsys.readouterr().out)
    assert report["ratio"] == pytest.approx(report["ours"] / report["reference"], abs=1e-3)
    (run,) = report["runs"]
    assert report["by_replicas"]["2"] == report["ours"]
    for side in ("2", "1", "reference"):
        assert [level["concurrency"] for level in run[side]["levels"]] == [1, 4]
        for level in run[side]["levels"]:
            assert level["failed"] == 0
            assert level["rate"] > 0
            assert level["answers"] == run["2"]["levels"][0]["answers"]
            assert level["p50_ms"] <= level["p95_ms"] <= level["p99_ms"]


def test_a_benchmark_without_a_model_says_which_to_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="name the folder of a trained model"):
        bench.main(["serve"])
