"""The ablation as users run it: two choices on two splits, and once more with nothing left to train."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.cluster.programs import run

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SETTINGS = ("ablate.num_seeds=2", "ablate.choices=[thesis]", "training.num_epochs=2")


def test_an_ablation_trains_each_choice_once_and_compares(whole: tuple[Path, str], tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", f"{whole[0]}/.", tmp_path], check=True)
    output = run("ablate", tmp_path, *SETTINGS)
    trained = dict(re.findall(r"models/ablation-(\S+): (\d+) epochs", output))
    assert set(trained) == {"full-0", "full-1", "thesis-0", "thesis-1"}
    assert trained["full-0"] == trained["full-1"] == "2"
    found = json.loads((tmp_path / "ablation.json").read_text())["figures"]
    assert set(found) == {"full", "thesis"}
    assert {"recall@1 radical", "recall@1 moderate"} <= set(found["full"])
    for figures in found.values():
        for row in figures.values():
            assert row["interval"][0] <= row["mean"] <= row["interval"][1]
            assert len(row["by_seed"]) == 2
    assert "| full |" in output
    assert "| thesis |" in output
    # One of the models is lost, as of a run that was killed: that one is trained again, and the figures are the same.
    (tmp_path / "models/ablation-full-1/config.json").unlink()
    again = run("ablate", tmp_path, *SETTINGS)
    assert re.findall(r"models/ablation-(\S+): \d+ epochs", again) == ["full-1"]
    assert json.loads((tmp_path / "ablation.json").read_text())["figures"] == found
