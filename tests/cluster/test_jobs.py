"""The jobs as users run them: as programs on this machine, killed half-way, and with wrong input."""

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from artsim.baselines import SCORERS
from artsim.config import EDITS, FRAMINGS
from artsim.tables import status
from tests.cluster.programs import NUM_PAINTINGS, artsim, contents, job, run

pytestmark = pytest.mark.cluster


def test_run_makes_every_table_a_model_and_a_report(whole: tuple[Path, str]) -> None:
    root, output = whole
    tables = status(str(root))["tables"]
    counts = {name: (table["done"], table["expected"]) for name, table in tables.items()}
    n = NUM_PAINTINGS
    assert counts.pop("artworks") == (n, n + 1)
    assert tables["artworks"]["quarantined"] == {"not_an_image": 1}
    assert counts.pop("triplets/a70") == (56 * n, 56 * n)  # two levels, seven tiers, four draws
    edited = {name: counts.pop(name) for name in list(counts) if name.startswith("edited")}
    assert len(edited) == 5
    assert all(done == expected > 0 for done, expected in edited.values())
    originals = {
        "duplicates",
        "resized",
        "thumbnails",
        "captions",
        "embeddings",
        "caption_embeddings",
        "cues",
        "splits/a70",
    }
    versions = {"prompts", "generated", "generated_captions", "generated_embeddings", "generated_caption_embeddings"}
    versions |= {"generated_cues"}
    assert counts == dict.fromkeys(originals, (n, n)) | dict.fromkeys(versions, (2 * n, 2 * n))
    report, model = output.splitlines()[-2:]
    assert "<html" in Path(report).read_text()
    assert {path.name for path in Path(model).iterdir()} >= {
        *(
            "model.safetensors",
            "config.json",
            "metrics.json",
            "metrics.jsonl",
            "report.html",
            "checkpoints",
            "examples",
        ),
        "index",
    }


def test_the_metrics_compare_the_head_with_the_frozen_features_on_the_same_rows(whole: tuple[Path, str]) -> None:
    metrics = json.loads((whole[0] / "models/a70/metrics.json").read_text())
    by_rows: dict[tuple[str, str, str], set[tuple[str, int]]] = {}
    for row in metrics["rows"] + [row | {"tier": "search"} for row in metrics["retrieval"]]:
        key = row["level"], row["tier"], row["approaches"]
        by_rows.setdefault(key, set()).add((row["scorer"], row["n"]))
    assert {"any", "nearest", "original", "search"} <= {tier for _, tier, _ in by_rows}
    for found in by_rows.values():
        assert {scorer for scorer, _ in found} == set(SCORERS)  # the thesis's head was trained beside
        assert len({n for _, n in found}) == 1
    assert "test paintings of" in metrics["verdict"]
    assert {row["framing"] for row in metrics["shortcuts"]["framings"]} == {"cropped", *FRAMINGS}
    assert {row["edit"] for row in metrics["robustness"]["edits"]} == set(EDITS)
    assert metrics["subscores"]["matrix"]
    assert metrics["calibration"]["num_positive"]


def test_a_second_run_finds_nothing_to_do(whole: tuple[Path, str], paintings: Path) -> None:
    root, _ = whole
    before = contents(root, "generated")
    output = run("run", root, f"source.uri={paintings}", "max_failure_rate=0.1")
    assert set(re.findall(r"(\d+) new in", output)) == {"0"}
    assert "trained already" in output
    assert "indexed already" in output
    assert contents(root, "generated") == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "table", "parts_at_kill"), [("resize", "resized", (2,)), ("generate", "generated", (1, 3))]
)
def test_a_job_that_was_killed_ends_as_if_it_never_was(
    name: str, table: str, parts_at_kill: tuple[int, ...], whole: tuple[Path, str], tmp_path: Path
) -> None:
    subprocess.run(["cp", "-r", f"{whole[0]}/.", tmp_path], check=True)
    expected = contents(tmp_path, table)
    subprocess.run(["rm", "-r", tmp_path / table], check=True)
    for num_parts in parts_at_kill:
        process = job(name, tmp_path)
        try:
            for _ in part_counts(tmp_path / table, num_parts, process):
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert not (tmp_path / table / "_parts.json").exists()
    done = sum(table_["done"] for name_, table_ in status(str(tmp_path))["tables"].items() if name_ == table)
    assert 0 < done < len(expected)
    output = run(name, tmp_path)
    assert contents(tmp_path, table) == expected
    assert (
        f"{len(expected) - done} new in" in output
        or int(re.findall(r"(\d+) new in", output)[0]) <= len(expected) - done
    )
    assert not list((tmp_path / table).glob(".tmp-*"))


def part_counts(folder: Path, num_parts: int, process: subprocess.Popen[str]) -> Iterator[int]:
    """Count the parts of a table until there are so many."""
    deadline = time.monotonic() + 120
    while (count := len(list(folder.glob("*.parquet")))) < num_parts:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        yield count


WRONG = {
    "a folder that is not there": (("ingest", "source.uri=/nowhere"), "/nowhere"),
    "a folder without pictures": (("ingest", "source.uri=EMPTY"), "none of its 0 files is an image"),
    "no source": (("ingest",), "source.uri"),
    "a misspelt setting": (("resize", "letterbox.jpg_quality=3"), "did you mean jpeg_quality"),
    "a job before its turn": (("caption",), "run jobs/"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_ends_in_one_sentence(mistake: str, tmp_path: Path) -> None:
    (name, *settings), words = WRONG[mistake]
    (tmp_path / "empty").mkdir()
    settings = [setting.replace("EMPTY", str(tmp_path / "empty")) for setting in settings]
    process = job(name, tmp_path / "root", *settings)
    output, _ = process.communicate(timeout=120)
    assert process.returncode not in (0, None)
    assert words in output.lower() or words in output
    assert "Traceback" not in output
    assert len(output.strip().splitlines()) == 1


def test_other_settings_are_refused_and_nothing_is_lost(whole: tuple[Path, str]) -> None:
    before = contents(whole[0], "resized")
    process = job("resize", whole[0], "letterbox.jpeg_quality=50")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "settings.letterbox.jpeg_quality: 95 before, 50 now" in output
    assert contents(whole[0], "resized") == before


def test_compare_and_status_answer_programs(whole: tuple[Path, str]) -> None:
    root, _ = whole
    model = root / "models/a70"
    pictures = [model / "examples/painting.jpg", model / "examples/version.jpg"]
    same = artsim("compare", pictures[0], pictures[0], "--model", model, "--json")
    other = artsim("compare", *pictures, "--model", model, "--json")
    assert json.loads(same)["similarity"] == pytest.approx(1, abs=1e-5)
    assert -1 <= json.loads(other)["similarity"] < 1
    shown = json.loads(artsim("status", root, "--json"))
    assert shown["tables"]["resized"]["done"] == NUM_PAINTINGS


@pytest.mark.parametrize(
    "broken",
    ["config.json", *(pytest.param(name, marks=pytest.mark.slow) for name in ("missing", "model.safetensors"))],
)
def test_a_broken_model_folder_is_one_sentence(broken: str, whole: tuple[Path, str], tmp_path: Path) -> None:
    model = whole[0] / "models/a70"
    for name in ("config.json", "model.safetensors"):
        data = (model / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2] if name == broken else data)
    folder = tmp_path / "nothing" if broken == "missing" else tmp_path
    picture = model / "examples/painting.jpg"
    with pytest.raises(subprocess.CalledProcessError) as failed:
        artsim("compare", picture, picture, "--model", folder)
    assert failed.value.stderr.startswith("error: ")
    assert len(failed.value.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_pairs_that_exist_need_no_generation(whole: tuple[Path, str], paintings: Path, tmp_path: Path) -> None:
    pictures = sorted(path.relative_to(paintings) for path in paintings.glob("*/*_*.jpg"))
    originals = [path for path in pictures if path.name != "nobody_words.jpg"]
    lines = [f"{path},{other}" for path, other in zip(originals, originals[1:] + originals[:1], strict=True)]
    folder, root = Path(shutil.copytree(paintings, tmp_path / "pictures")), tmp_path / "root"
    (folder / "pairs.csv").write_text("\n".join(["original_image,generated_image", *lines]))
    parts = [whole[0] / name for name in ("_root.json", "_listing", "artworks")]
    root.mkdir()
    subprocess.run(["cp", "-r", *parts, root], check=True)
    output = run("pairs", root, f"pairs.uri={folder}/pairs.csv")
    assert f"generated: {NUM_PAINTINGS} rows, 0 quarantined" in output
    tables = status(str(root))["tables"]
    assert {name: tables[name]["done"] for name in ("prompts", "generated")} == {
        "prompts": NUM_PAINTINGS,
        "generated": NUM_PAINTINGS,
    }
    assert "0 new in" in run("pairs", root, f"pairs.uri={folder}/pairs.csv")


@pytest.mark.slow
def test_a_plan_counts_what_a_run_would_make_and_leaves_nothing(paintings: Path, tmp_path: Path) -> None:
    output = run("plan", tmp_path, f"source.uri={paintings}", "plan.num_paintings=4", "source.limit=20")
    rows = {words[0]: words[1] for line in output.splitlines() if len(words := line.split()) > 6}
    assert rows["artworks"] == rows["duplicates"] == rows["resized"] == rows["caption_embeddings"] == "20"
    assert rows["splits/a70"] == "20"
    assert rows["generated"] == rows["prompts"] == rows["generated_embeddings"] == "40"
    assert rows["triplets/a70"] == "1,120"
    assert rows["models/a70"] == str(4 * 28)  # four epochs on 70% of the versions
    assert rows["models/a70/report.html"] == "18"
    assert "20 paintings: " in output
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("_plan")]
