import collections
import csv
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfx_registry.pipelines.csv_files import SplitFiles
from tfx_registry.pipelines.penguin import data

ISLANDS = ("Biscoe", "Dream", "Torgersen")
SEXES = ("female", "male")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def written(tmp_path: Path) -> SplitFiles:
    return data.write_penguin_csv(tmp_path / "penguins")


def test_both_splits_together_are_the_344_penguins_of_the_package(
    written: SplitFiles,
) -> None:
    rows = read(written.train) + read(written.eval)

    assert len(rows) == 344
    count = collections.Counter(tuple(row.values()) for row in rows)
    assert count == collections.Counter(tuple(row.values()) for row in data.read_penguins())


def test_the_raw_columns_are_kept_and_missing_values_are_empty(
    written: SplitFiles,
) -> None:
    lines = written.train.read_text(encoding="utf-8").splitlines()

    assert lines[0] == (
        "species,island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex,year"
    )
    assert lines[1] == "Adelie,Torgersen,39.1,18.7,181,3750,male,2007"
    assert "Adelie,Torgersen,,,,,,2007" in lines
    assert not any("NA" in line for line in lines)


def test_about_two_of_three_penguins_are_for_training(written: SplitFiles) -> None:
    train, evaluation = len(read(written.train)), len(read(written.eval))

    assert 0.60 < train / (train + evaluation) < 0.72


@pytest.mark.parametrize(("island", "sex"), itertools.product(ISLANDS, SEXES))
def test_each_island_and_sex_has_its_share_in_both_splits(
    written: SplitFiles, island: str, sex: str
) -> None:
    def count(path: Path) -> int:
        return sum((row["island"], row["sex"]) == (island, sex) for row in read(path))

    train, evaluation = count(written.train), count(written.eval)
    assert evaluation >= 7
    # Every third of a stratum: the rest of the division stays with the training split.
    assert 0 <= train - 2 * evaluation <= 2


def test_each_species_is_in_both_splits(written: SplitFiles) -> None:
    for path in (written.train, written.eval):
        assert {row["species"] for row in read(path)} == {"Adelie", "Chinstrap", "Gentoo"}


def test_no_penguin_is_in_both_splits() -> None:
    strata = list(itertools.product(ISLANDS, SEXES)) * 7
    rows = [
        {"island": island, "sex": sex, "id": str(number)}
        for number, (island, sex) in enumerate(strata)
    ]

    train, evaluation = data.split_penguins(rows)

    ids = [row["id"] for row in (*train, *evaluation)]
    assert sorted(ids, key=int) == [str(number) for number in range(len(rows))]


def test_a_second_writing_touches_nothing(tmp_path: Path) -> None:
    first = data.write_penguin_csv(tmp_path)
    for path in (first.train, first.eval):
        os.utime(path, ns=(1_000_000_000, 1_000_000_000))

    second = data.write_penguin_csv(tmp_path)

    assert second == first
    # TFX takes the modification time for the content.
    assert [p.stat().st_mtime_ns for p in (second.train, second.eval)] == [1_000_000_000] * 2


def test_a_damaged_file_is_written_again(written: SplitFiles) -> None:
    right = written.train.read_bytes()
    written.train.write_bytes(right[:100])

    data.write_penguin_csv(written.root)

    assert written.train.read_bytes() == right


def test_the_bytes_do_not_depend_on_hash_seed_or_locale(tmp_path: Path) -> None:
    contents = []
    for number, environment in enumerate(
        ({"PYTHONHASHSEED": "1", "LC_ALL": "C"}, {"PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8"})
    ):
        target = tmp_path / str(number)
        subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; from tfx_registry.pipelines.penguin import data; "
                "data.write_penguin_csv(sys.argv[1]); assert 'pandas' not in sys.modules",
                str(target),
            ],
            check=True,
            env={**os.environ, **environment},
            timeout=250,
        )
        contents.append([(target / s / "penguins.csv").read_bytes() for s in ("train", "eval")])

    assert contents[0] == contents[1]


def test_a_crash_while_writing_leaves_the_old_file_and_no_litter(
    written: SplitFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.train.write_text("old")

    def crash(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        data.write_penguin_csv(written.root)

    assert written.train.read_text() == "old"
    assert sorted(p.name for p in written.root.iterdir()) == ["eval", "train"]


def test_a_package_with_other_columns_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "palmerpenguins"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "data" / "penguins.csv").write_text("species,habitat\nAdelie,Dream\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "palmerpenguins", raising=False)

    with pytest.raises(ValueError, match="habitat"):
        data.write_penguin_csv(tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_without_the_package_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(ModuleNotFoundError, match="pip install palmerpenguins"):
        data.write_penguin_csv(tmp_path)
