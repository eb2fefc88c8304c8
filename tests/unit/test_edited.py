"""Which paintings are edited: of the test split, drawn by seed, and what each of them gets."""

import pyarrow as pa
import pytest

from artsim.config import EDITS, FRAMINGS, EditConfig
from artsim.edited import choose, edits_of, expand_edits, num_edits

IDS = [f"Genre/artist_{number:02d}" for number in range(40)]


def splits(ids: list[str] = IDS) -> pa.Table:
    return pa.table({"id": ids, "split": ["test" if int(row_id[-2:]) % 2 else "train" for row_id in ids]})


def test_only_test_paintings_are_drawn_and_the_order_of_rows_does_not_matter() -> None:
    config = EditConfig(num_paintings=5, num_framed=8)
    chosen = choose(splits(), config, seed=0)
    assert (len(chosen.edited), len(chosen.framed)) == (5, 8)
    assert chosen.edited == chosen.framed[:5]
    assert all(int(painting[-2:]) % 2 for painting in chosen.framed)
    assert choose(splits(IDS[::-1]), config, seed=0) == chosen
    assert choose(splits(), config, seed=1) != chosen


def test_who_was_drawn_stays_so_when_others_go() -> None:
    config = EditConfig(num_paintings=5, num_framed=8)
    before = choose(splits(), config, seed=0).framed
    after = choose(splits([row_id for row_id in IDS if row_id != before[2]]), config, seed=0).framed
    assert after[:7] == before[:2] + before[3:]


def test_a_small_set_is_taken_whole() -> None:
    chosen = choose(splits(IDS[:4]), EditConfig(), seed=0)
    assert sorted(chosen.edited) == sorted(chosen.framed) == [IDS[1], IDS[3]]
    assert choose(splits(IDS[:1]), EditConfig(), seed=0).framed == []
    assert choose(splits(IDS[:1]), EditConfig(), 0, among=("train", "test")).framed == IDS[:1]


@pytest.mark.parametrize("table", ["edited", "edited_versions"])
@pytest.mark.parametrize("counts", [(5, 8), (8, 5), (0, 3), (99, 99)])
def test_rows_are_as_many_as_planned(table: str, counts: tuple[int, int]) -> None:
    config = EditConfig(table=table, num_paintings=counts[0], num_framed=counts[1])
    edits = edits_of(choose(splits(), config, seed=0), config)
    index, added = expand_edits(IDS, edits)
    assert len(index) == len(added["edit"]) == num_edits(config, num_paintings=20)
    rows = {(IDS[at], edit) for at, edit in zip(index, added["edit"], strict=True)}
    assert len(rows) == len(index)
    assert {edit for _, edit in rows} <= ({*EDITS, *FRAMINGS} if table == "edited" else set(FRAMINGS))


def test_each_version_of_a_painting_gets_its_rows() -> None:
    index, added = expand_edits(["a", "b", "b", "c"], {"b": ("bars-kept", "bars-swapped")})
    assert index.tolist() == [1, 1, 2, 2]
    assert added["edit"].tolist() == ["bars-kept", "bars-swapped"] * 2
