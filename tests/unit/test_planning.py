"""What a plan says of rates that were measured."""

import pytest

from artsim.planning import HEADER, Plan, duration, size


def test_a_line_says_hours_of_work_and_of_waiting() -> None:
    plan = Plan("generated", rows=162_890, rows_per_s=2.0, num_workers=8, num_gpus=0.5, gigabytes=29.4)
    assert plan.hours == pytest.approx(162_890 / 2 / 8 / 3600)
    assert str(plan).split() == ["generated", "162,890", "2.00", "11.31", "GPU-h", "8", "2.8", "h", "29.4", "GB"]
    assert len(str(plan)) == len(HEADER)


@pytest.mark.parametrize(
    ("hours", "said"),
    [(0.001, "4 s"), (0.027, "97 s"), (0.03, "2 min"), (1.99, "119 min"), (2, "2.0 h"), (31.4, "31.4 h")],
)
def test_durations(hours: float, said: str) -> None:
    assert duration(hours) == said


def test_sizes() -> None:
    assert [size(gigabytes) for gigabytes in (0.0004, 0.9, 1, 1234)] == ["0 MB", "900 MB", "1.0 GB", "1.2 TB"]
