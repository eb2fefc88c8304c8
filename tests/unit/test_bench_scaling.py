"""What the benchmark of Serve's autoscaling makes of what it saw: figures and a picture, here of a run made up."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from jobs.bench_scaling import Answer, AutoscaleBench, Watched, draw, report

BUSY = (20.0, 80.0)
SECONDS = 160


@pytest.fixture
def watched() -> Watched:
    """One replica answers 20 requests/s, three answer 60; they come 10 s and 20 s after the many clients."""
    answers = [
        Answer(second + part / rate, 0.5 if rate == 60 else 1.25, 200)
        for second in range(SECONDS)
        for rate in ([60 if second >= 40 else 20] if BUSY[0] <= second < BUSY[1] else [2])
        for part in range(rate)
    ]
    replicas = [(at / 2, 1 + (at >= 60) + (at >= 80) - 2 * (at >= 280)) for at in range(2 * SECONDS)]
    return Watched(answers, replicas, BUSY)


def test_the_figures_are_those_of_one_replica_and_of_all(watched: Watched) -> None:
    found = report(AutoscaleBench(), watched, {"max_replicas": 3})
    assert (found["ours"], found["reference"]) == (60, 20)
    assert found["ratio"] == 3
    assert found["max_replicas_seen"] == 3
    times = [found[f"{name}_after_s"] for name in ("second_replica", "all_replicas", "one_replica")]
    assert times == [10, 20, 60]
    assert found["p50_ms"] == {"calm": 1250, "one": 1250, "all": 500}
    assert found["failed"] == 0


def test_the_picture_is_a_file_of_its_own_in_light_and_dark(watched: Watched) -> None:
    text = draw(watched, num_clients=24)
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(root.findall("{http://www.w3.org/2000/svg}svg")) == 2
    assert {"Replicas", "Seconds until the answer", "24 clients"} <= {found.text for found in root.iter() if found.text}
    named = set(re.findall(r"var\((--\w+)\)", text))
    light, dark = re.findall(r"svg\{([^}]*)\}", text)
    assert named <= set(re.findall(r"--\w+(?=:)", light))
    assert light != dark
    assert draw(watched, num_clients=24) == text
