"""How files of run folders are read, with bounds, and written, whole."""

import csv
import os
import random
import socket
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from segkit.files import tables
from segkit.files.reading import read_checkpoint, read_json, read_yaml
from segkit.files.tables import csv_text, escape_cell, read_rows, unescape_cell, write_rows
from segkit.files.writing import write_json
from segkit.security import stored_configs
from segkit.security.kinds import Origin


@pytest.mark.parametrize("name", ["train.log", ".config.yaml.part", "checkpoints/.last.ckpt.part"])
def test_a_run_folder_has_plain_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkpoints").mkdir()
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name} is a pipe, a socket or a device.*Remove it"):
        stored_configs.check_folder(tmp_path)
    (tmp_path / name).unlink()
    monkeypatch.chdir((tmp_path / name).parent)  # a socket's address has 107 characters at most
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(Path(name).name)
        with pytest.raises(ValueError, match="is a pipe, a socket"):
            stored_configs.check_folder(tmp_path)


def test_a_file_is_written_where_a_pipe_stood_for_its_first_half(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".a.json.part")
    write_json(tmp_path / "a.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_one_container_in_many_places_is_counted_each_time() -> None:
    node: list[Any] = [0]
    for _ in range(20):
        node = [node] * 10
    with pytest.raises(ValueError, match="more than 100000 values"):
        stored_configs.check_values({"model": node}, Origin("file"))
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(ValueError, match="more than 24 containers"):
        stored_configs.check_values(cycle, Origin("file"))


BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "alias or anchor"),
        ("a: &x 1\nb: {<<: *x}", "alias or anchor"),
        ("a: !!python/object/apply:os.system ['true']", "has the tag"),
        ("a: !!binary aGVsbG8=", "has the tag"),
        ("a: " + "[" * 100 + "]" * 100, "more than 24 containers"),
        ("a: " + "[" * 9999, "more than 24 containers"),
        ("a: [" + "1," * 20000 + "]", "more than 10000 values"),
        ("x" * 300_000, "more than 0.25 MB"),
        ("a: 1\na: 2", "duplicate"),
        ("a: " + "9" * 5000, "cannot be read as a config"),
        ("%YAML 9.9\n---\n: : :", "cannot be read as a config"),
        ("true", "cannot be read as a config"),
        ("12", "cannot be read as a config"),
        ("\x07", "cannot be read as a config"),
        ("- 1\n--- \n- 2", "cannot be read as a config"),
    ],
)
def test_yaml_is_read_with_bounds(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"config\.yaml.*{message}"):
        read_yaml(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "cannot be read as JSON"),
        (b'{"a": 1', "cannot be read as JSON"),
        (b"\xff\xfe", "is not a text file"),
        (b"9" * 10_000, "cannot be read as JSON"),
        (b" " * (33 * 2**20), "more than 32 MB"),
        (b"[" * 30 + b"]" * 30, "more than 24 containers inside each other"),
        (b'{"a":' * 30 + b"1" + b"}" * 30, "more than 24 containers inside each other"),
        (b"[" + b"[]," * 1_000_001 + b"1]", "more than 1000000 lists"),
    ],
)
def test_json_is_read_with_bounds(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"results\.json.*{message}"):
        read_json(tmp_path / "results.json")


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results.json")
    (tmp_path / "config.yaml").symlink_to("/dev/zero")
    for read, name in ((read_json, "results.json"), (read_yaml, "config.yaml")):
        with pytest.raises(FileNotFoundError, match="is not a regular file"):
            read(tmp_path / name)


@pytest.mark.parametrize("text", ["a,b\n1\n", "a,a\n1,2\n", 'a,b\n1,"2', "a\n1,2\n"])
def test_a_damaged_csv_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=r"x\.csv"):
        read_rows(tmp_path / "x.csv")


def test_csv_is_read_with_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_ROWS", 3)
    monkeypatch.setattr(tables, "MOST_CELLS", 8)
    for text, message in (
        ("a\n" + "1\n" * 4, "more than 3 rows"),
        ("a,b,c,d\n" + "1,2,3,4\n" * 3, "more than 2 rows"),
        (f"{'x' * 1001}\n1\n", "1000 letters"),
        (",".join(map(str, range(5000))), "4096 columns"),
    ):
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(ValueError, match=rf"x\.csv.*{message}"):
            read_rows(tmp_path / "x.csv")


def test_no_cell_is_a_formula_and_each_is_read_as_it_was(tmp_path: Path) -> None:
    cells = ["=1+1", "+1", "-1", "@x", "\tx", "\r=x", "'=x", "''=x", "'x", "＝x", "plain", "-", ""]
    write_rows(tmp_path / "x.csv", [{"=name": cell, "value": -1.5} for cell in cells])
    with (tmp_path / "x.csv").open(newline="") as file:
        written = list(csv.reader(file))
    assert all(not cell.startswith(tuple("=+-@\t\r＝")) for name, _ in written for cell in [name])
    assert written[1][1] == "-1.5"
    assert [row["=name"] for row in read_rows(tmp_path / "x.csv")] == cells


def repacked(source: Path, target: Path, change: Any = None, compression: Any = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(name, content) if change else content)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quote", ['"', None])
def test_no_part_of_a_cell_is_a_formula_however_a_program_splits_lines(
    separator: str, quote: str | None, tmp_path: Path
) -> None:
    """Even for programs to which a quote inside a cell is an ordinary letter."""
    parts = ["=cmd|' /C calc'!A0", '"=1', "\"'=1", " @a", "＝1", "x"]
    cells = [f"x{between}{part}" for between in (";", "\t", "|", "\n", "\r\n", ";;") for part in parts]
    write_rows(tmp_path / "x.csv", [{"n": 1, "cell": cell, "more": cell} for cell in cells])
    with (tmp_path / "x.csv").open(newline="") as file:
        lines = csv.reader(
            file, delimiter=separator, quotechar=quote, quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
        )
        found = [cell for line in lines for cell in line]
    assert len(found) > len(cells)
    assert [cell for cell in found if cell.lstrip(' "').startswith(("=", "@", "＝"))] == []
    assert [row["cell"] for row in read_rows(tmp_path / "x.csv")] == cells


def test_cells_with_separators_are_quoted() -> None:
    assert csv_text([["a;b", "a\tb", "a|b", "ab", 1.5]]) == '"a;b","a\tb","a|b",ab,1.5\n'


def test_any_cell_is_read_as_it_was() -> None:
    rng = random.Random(0)
    for _ in range(3000):
        cell = "".join(rng.choices("'\";\t|\r\n=-＝ a,", k=rng.randint(0, 9)))
        assert unescape_cell(str(escape_cell(cell))) == cell


def test_a_checkpoint_is_no_larger_unpacked_than_it_is(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.ckpt")
    repacked(tmp_path / "a.ckpt", tmp_path / "bomb.ckpt", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"bomb\.ckpt .* unpacked, it would be too large"):
        read_checkpoint(tmp_path / "bomb.ckpt")
    torch.save({"a": torch.zeros(1)}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"old\.ckpt is not a segkit checkpoint"):
        read_checkpoint(tmp_path / "old.ckpt")


def test_a_tensor_claims_no_more_than_the_file_has(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1000)}, "segkit": {}}, tmp_path / "a.ckpt")

    def more(name: str, content: bytes) -> bytes:
        return content.replace(b"M\xe8\x03", b"M\xe8\xff") if name.endswith(".pkl") else content  # 1000 to 65512

    repacked(tmp_path / "a.ckpt", tmp_path / "more.ckpt", more)
    with pytest.raises(ValueError, match=r"more\.ckpt is not a segkit checkpoint, or is damaged"):
        read_checkpoint(tmp_path / "more.ckpt")


def test_cells_are_read_in_linear_time() -> None:
    started = time.process_time()
    assert unescape_cell("\t'" * 100_000 + "a") == "\t'" * 100_000 + "a"
    assert escape_cell("a" + "\t" * 100_000 + "a") == "a" + "\t" * 100_000 + "a"
    assert time.process_time() - started < 1
