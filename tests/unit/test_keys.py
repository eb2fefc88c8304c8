"""API keys: their file, who owns which, and `artsim key`."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from typer.testing import CliRunner, Result

from artsim import keys as api_keys
from artsim.cli import app
from artsim.keys import Keys, KeysError, append, make


def key(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["key", *arguments])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.txt"


def test_each_key_is_known_by_its_owner_and_no_other_key_is(path: Path) -> None:
    made = {name: make(name) for name in ("museum", "lab-2", "a.b@c.org")}
    path.write_text("# who may ask\n\n" + "".join(f"  {line}  # since May\n" for _, line in made.values()))
    keys = Keys.load(str(path))
    assert keys.names == tuple(made)
    for name, (secret, line) in made.items():
        assert keys.owner(secret) == name
        assert line == f"{name} {hashlib.sha256(secret.encode()).hexdigest()}"
        wrong = (secret[:-1], secret + " ", secret.upper(), secret.removeprefix("artsim_"), line.split()[1], name)
        assert [keys.owner(text) for text in wrong] == [None] * len(wrong)
    assert [keys.owner(text) for text in ("", "é", "\udcff", "x" * 100_000, make("museum")[0])] == [None] * 5


def test_a_key_is_256_random_bits_that_show_what_they_are() -> None:
    made = [make("museum")[0] for _ in range(200)]
    assert len(set(made)) == 200
    assert all(secret.startswith("artsim_") and len(secret) == 7 + 43 for secret in made)  # 43 x 6 bits >= 256


def test_all_entries_are_compared_whichever_is_right(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [make(name) for name in ("first", "second", "third")]
    path.write_text("\n".join(line for _, line in made))
    keys, counts = Keys.load(str(path)), []
    compare = api_keys.hmac.compare_digest
    for secret in (made[0][0], made[2][0], "wrong"):
        calls: list[bytes] = []
        monkeypatch.setattr(api_keys.hmac, "compare_digest", lambda a, b, c=calls: c.append(a) or compare(a, b))
        keys.owner(secret)
        counts.append(len(calls))
    assert counts == [3, 3, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key; `artsim key NAME --file {path}` adds one"),
        ("# nobody yet\n\n", "holds no key; `artsim key NAME --file {path}` adds one"),
        ("museum\n", "line 1: must be a name and the SHA-256 of its key, 64 hexadecimal digits"),
        (f"\n#\nmuseum {'0' * 63}\n", "line 3: must be a name and the SHA-256 of its key, 64 hexadecimal digits"),
        (f"museum {'g' * 64}\n", "line 1: must be a name and the SHA-256 of its key, 64 hexadecimal digits"),
        (f"the museum {'0' * 64}\n", "line 1: must be a name and the SHA-256 of its key, 64 hexadecimal digits"),
        (f"a {'0' * 64}\na {'1' * 64}\n", "line 2: a is there twice; each name has one key of its own"),
        (f"a {'0' * 64}\nb {'0' * 64}\n", "line 2: b has the key of another name; each name has one key of its own"),
    ],
)
def test_a_wrong_file_is_one_sentence(text: str, message: str, path: Path) -> None:
    path.write_text(text)
    with pytest.raises(KeysError) as error:
        Keys.load(str(path))
    assert str(error.value).removeprefix(str(path)).lstrip(":, ") == message.format(path=path)


def test_a_missing_or_binary_file_is_one_sentence_and_a_key_is_never_repeated(path: Path) -> None:
    with pytest.raises(KeysError, match=r"keys\.txt: no such file of keys"):
        Keys.load(str(path))
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(KeysError, match=r"keys\.txt: is not a text file of keys"):
        Keys.load(str(path))
    secret, _ = make("museum")
    path.write_text(f"museum {secret}\n")  # the key where its hash belongs
    with pytest.raises(KeysError) as error:
        Keys.load(str(path))
    assert secret not in str(error.value)


def test_keys_are_read_from_a_url_and_by_a_bare_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, line = make("museum")
    url = f"memory://{uuid4().hex}/keys.txt"
    with fsspec.open(url, "w") as file:
        file.write(line)
    assert Keys.load(url).owner(secret) == "museum"
    path.write_text(line)
    monkeypatch.chdir(path.parent)
    assert Keys.load("keys.txt").owner(secret) == "museum"


@pytest.mark.parametrize("name", ["", "the museum", "#", "a\n", "-a", "é", "a" * 65])
def test_a_name_that_would_break_the_file_is_refused(name: str) -> None:
    with pytest.raises(KeysError, match="a name has 1 to 64 letters"):
        make(name)


def test_the_command_prints_the_key_and_its_line(path: Path) -> None:
    result = key("museum")
    secret = result.stdout.strip()
    assert secret.startswith("artsim_")
    line = result.stderr.splitlines()[-1].strip()
    assert line == f"museum {hashlib.sha256(secret.encode()).hexdigest()}"
    assert "only the hash is kept" in result.stderr
    assert result.output.count(secret) == 1


def test_the_command_adds_to_the_file_and_refuses_a_name_that_is_there(path: Path) -> None:
    path.write_text("# by hand, without an end of line")
    path.chmod(0o644)
    first = key("museum", "--file", str(path)).stdout.strip()
    second = key("lab", "--file", str(path)).stdout.strip()
    keys = Keys.load(str(path))
    assert (keys.owner(first), keys.owner(second)) == ("museum", "lab")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    assert before.startswith(b"# by hand, without an end of line\n")
    assert first.encode() not in before

    again = key("museum", "--file", str(path))
    assert again.exit_code == 1
    assert again.output.strip() == (f"error: {path}: museum has a key; take its line out first, or choose another name")
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.txt"]


def test_a_file_that_cannot_be_written_gives_no_key(path: Path) -> None:
    missing = key("museum", "--file", str(path.parent / "nowhere" / "keys.txt"))
    assert missing.exit_code == 1
    assert missing.output.startswith("error: ")
    assert "artsim_" not in missing.output
    path.write_text("nonsense\n")
    broken = key("museum", "--file", str(path))
    assert broken.output.strip() == (
        f"error: {path}, line 1: must be a name and the SHA-256 of its key, 64 hexadecimal digits"
    )
    assert path.read_text() == "nonsense\n"


def test_a_link_to_the_file_stays_a_link(path: Path) -> None:
    link = path.with_name("link.txt")
    link.symlink_to(path)
    append(link, make("museum")[1])
    assert link.is_symlink()
    assert Keys.load(str(path)).names == ("museum",)
