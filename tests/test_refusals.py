"""Refused commands leave nothing behind, wherever their folders would have been."""

import shlex
from pathlib import Path

import pytest
from bad_inputs.makers import run
from conftest import segkit

from segkit.configs.composing import compose, format_argument


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("train", ["resume={}/runs/nope"]),
        ("train", ["resume={}/runs/nope", "loss=bce"]),
        ("train", ["resume={}/runs/nope", "trainer.max_epochs=3", "hydra.run.dir={}/runs/other"]),
        ("train", ["seed=x", "hydra.run.dir={}/runs/one"]),
        ("train", ["-m", "loss=dice,dise", "hydra.sweep.dir={}/runs/grid"]),
        ("predict", ["run=nope", "input=nope", "output={}/runs/out"]),
    ],
)
def test_a_refused_command_makes_no_folder_outside_of_where_it_runs(
    tmp_path: Path, verb: str, words: list[str]
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    done = segkit(*(word.format(tmp_path) for word in words), module=verb, cwd=here)
    assert done.returncode == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


def test_an_empty_folder_that_was_there_is_left(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert segkit("seed=x", "hydra.run.dir=mine", cwd=tmp_path).returncode == 1
    assert (tmp_path / "mine").is_dir()


def test_other_data_and_a_run_that_is_not_there_are_told_by_the_run_first(tmp_path: Path) -> None:
    run(tmp_path)
    for words in (["dataset=folder", "dataset.root=data"], ["dataset.root=data"]):
        done = segkit(*words, "resume=nope", cwd=tmp_path)
        assert "resume=nope: no run there" in done.stderr.strip().splitlines()[0]
    assert not (tmp_path / "nope").exists()


@pytest.mark.parametrize(
    "value", ["my data", "it's", r"(IMG_\d+)$", 'a "b" c', "$HOME", "x=y", "`x`", "a'b\"c", "a\\", "a b\\\\", "a\\'b"]
)
def test_what_is_to_be_typed_is_read_as_it_was_meant(value: str) -> None:
    (word,) = shlex.split(format_argument("dataset.root", value))
    assert compose("dataset=folder", word).dataset.root == value
