"""Run folders that are changed at random: whatever a stranger wrote there, code does not run, nothing is fetched or
written elsewhere, and what is wrong is told as a mistake of the person's, soon and in little memory.

`make test` tries 40 changes, always the same; `make soak` (SEGKIT_SOAK=<seconds>) goes on with new ones, in CI for a
minute.
"""

import copy
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import yaml
from conftest import disc
from helpers import Watch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from segkit.configs.composing import compose
from segkit.datasets import module
from segkit.evaluate import evaluate
from segkit.predict import predict
from segkit.report import report
from segkit.runs import checkpoint_io, checkpoints
from segkit.runs.folder import check_same_data, resumed_config
from segkit.runs.loading import load
from segkit.security import allowed, stored_configs

SOAK = float(os.environ.get("SEGKIT_SOAK", 0))  # seconds; 0: the quick round of `make test`
MORE_MEMORY = 1.5e9  # bytes that all of it may add
HANGS = 120  # seconds after which something waits for ever, on however busy a machine
CANARY = "canary_of_fuzz"
SYSTEM = {"_target_": "os.system", "command": "true"}
# What is put in the place of others; whole numbers that would ask for hours of honest work are left out.
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    3,
    33,
    255,
    10**9,
    2**63,
    10**40,
    -0.5,
    0.5,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "auto",
    "none",
    "null",
    "../x",
    "/tmp/fuzzed",
    "~/x",
    "C:\\x",
    "http://127.0.0.1:9/x",
    "hf_hub:evil/x",
    "s3://evil/x",
    "resnet18",
    "${oc.env:HOME}",
    "???",
    "=1+1",
    "x" * 3000,
    "\0",
    "é\n",
    [],
    {},
    [1],
    [[]],
    ["x", 1],
    {"a": 1},
    SYSTEM,
    [SYSTEM],
    {"_target_": f"{CANARY}.Net"},
    {"_partial_": True},
    {"_args_": [1]},
    {"url": "http://127.0.0.1:9/x"},
)
KEYS = (
    "_target_",
    "_args_",
    "_partial_",
    "_recursive_",
    "_convert_",
    "_call_",
    "checkpoint_path",
    "pretrained_cfg",
    "encoder",
    "architecture",
    "dirpath",
    "folder",
    "save_dir",
    "download",
    "name",
    "root",
    "x",
    "",
    "${x}",
    "stages",
)
NAMES = (*sorted(allowed.NAMES), "os.system", f"{CANARY}.Net", "torch.hub.load", "segkit.runs.load", "builtins.eval")
TOKENS = (
    b"&a ",
    b"*a",
    b"!!python/name:os.system ",
    b"${",
    b"[" * 50,
    b"]",
    b"{",
    b"}",
    b"\0",
    b"\xff",
    b"'",
    b'"',
    b"\n",
    b": ",
    b"9" * 20,
    b"=",
    b"nan",
    b"_target_",
    b"../",
    b"PK\3\4",
)


class Guard(Watch):
    """What the audit hook has seen while it is on. It stays in the process, off."""

    WATCHED = Watch.WATCHED | {"import"}

    def __init__(self, folder: Path) -> None:
        self.on, self.seen = False, list[str]()
        super().__init__([str(folder), os.environ["XDG_CACHE_HOME"]], -1)

    def note(self, event: str, args: tuple[Any, ...]) -> None:
        if self.on and event == "import":
            if str(args[0]).startswith(CANARY):
                self.write("code", event, repr(args))
        elif self.on:
            super().note(event, args)

    def write(self, kind: str, event: str, what: str) -> None:
        self.seen.append(f"{kind}: {event} {what}"[:300])


def places(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to everything in nested containers."""
    yield above
    if isinstance(node, dict):
        for key in node:
            yield from places(node[key], (*above, key))
    elif isinstance(node, list):
        for at in range(min(len(node), 4)):
            yield from places(node[at], (*above, at))


def changed(tree: Any, how: str, number: int, value: Any, key: str, name: str) -> Any:
    """A tree with something else at one of its places."""
    tree = {"": copy.deepcopy(tree)}
    ways = [way for way in places(tree) if way]
    targets = [way for way in ways if way[-1] == "_target_"]
    way = targets[number % len(targets)] if how == "target" and targets else ways[number % len(ways)]
    node = tree
    for step in way[:-1]:
        node = node[step]
    old = node[way[-1]]
    if how == "delete" and isinstance(node, dict) and len(way) > 1:
        del node[way[-1]]
    elif how == "add" and isinstance(old, dict):
        old[key] = value
    elif how == "add" and isinstance(old, list):
        old.append(value)
    elif how == "wrap":
        node[way[-1]] = [old]
    else:
        node[way[-1]] = name if how == "target" else copy.deepcopy(value)
    return tree[""]


def corrupted(content: bytes, how: str, start: int, length: int, token: bytes) -> bytes:
    """Bytes with some of them others, fewer or more."""
    at = start % (len(content) + 1)
    if how == "cut":
        return content[:at]
    if how == "drop":
        return content[:at] + content[at + length :]
    if how == "double":
        return content[: at + length] + content[at:]
    return content[:at] + token + content[at + len(token) * (how == "over") :]


READ = {  # by what is done with a run folder, as often as it is tried
    "load": ("best.ckpt",),
    "predict": ("best.ckpt",),
    "evaluate": ("best.ckpt",),
    "resume": ("config.yaml", "config.yaml", "last.ckpt", "environment.json", "split.json", "metrics.csv"),
    "report": ("config.yaml", "results.json", "environment.json", "metrics.csv", "per_image.csv"),
    "gallery": ("config.yaml", "results.json", "best.ckpt"),
}
ACTIONS = ("load",) * 4 + ("resume",) * 4 + ("predict",) * 2 + ("report",) * 2 + ("evaluate", "gallery")
BYTE = st.tuples(
    st.just("bytes"),
    st.sampled_from(("cut", "drop", "double", "insert", "over")),
    st.integers(0, 100_000),
    st.integers(1, 40),
    st.sampled_from(TOKENS) | st.binary(min_size=1, max_size=4),
)
TREE = st.tuples(
    st.just("tree"),
    st.sampled_from(("put", "put", "put", "delete", "add", "add", "wrap", "target")),
    st.integers(0, 10_000),
    st.sampled_from(VALUES),
    st.sampled_from(KEYS),
    st.sampled_from(NAMES),
)


@st.composite
def examples(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """What is done, and the changes to files that it reads."""
    action = draw(st.sampled_from(ACTIONS))
    changes = []
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(READ[action]))
        tree = not name.endswith(".csv") and draw(st.integers(0, 3)) > 0
        changes.append((name, draw(TREE if tree else BYTE)))
    return action, changes


class Workshop:
    """A run folder that is made anew, with changes, for each example; and what is done with it."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.folder, self.run = folder, folder / "run"
        self.whole = {path.relative_to(source): path.read_bytes() for path in source.rglob("*") if path.is_file()}
        self.old = str(source)
        (folder / "photos").mkdir(parents=True)
        cv2.imwrite(str(folder / "photos" / "a.png"), disc((33, 40), 0)[0])
        (folder / f"{CANARY}.py").write_text("Net = None\n")
        place = [f"run={self.run}", "accelerator=cpu"]
        photos, out = f"input={folder}/photos", f"output={folder}/out"
        self.predicting = compose(*place, photos, out, config="predict")
        self.evaluating = compose(*place, "pictures=1", f"output_dir={folder}/scored", config="evaluate")
        self.reporting = compose(f"runs={self.run}", config="report")
        self.plain = compose(f"runs={self.run}", "gallery=false", config="report")
        self.resuming = compose(f"resume={self.run}", "trainer.max_epochs=5")

    def make(self, changes: list[Any]) -> None:
        for place in (self.run, self.folder / "out", self.folder / "scored", self.folder / "report"):
            shutil.rmtree(place, ignore_errors=True)
        for name, content in self.whole.items():
            (self.run / name).parent.mkdir(parents=True, exist_ok=True)
            (self.run / name).write_bytes(content)
        for name, (kind, *change) in changes:
            path = self.run / ("checkpoints" if name.endswith(".ckpt") else "") / name
            if kind == "bytes":
                path.write_bytes(corrupted(path.read_bytes(), *change))
            else:
                self.change_tree(path, change)

    def change_tree(self, path: Path, change: Any) -> None:
        try:
            if path.suffix == ".yaml":
                path.write_text(yaml.safe_dump(changed(yaml.safe_load(path.read_text()), *change)))
            elif path.suffix == ".json":
                path.write_text(json.dumps(changed(json.loads(path.read_text()), *change)))
            else:
                stream = io.BytesIO()
                torch.save(changed(torch.load(path, weights_only=True), *change), stream)
                path.write_bytes(stream.getvalue())
        except Exception:  # a file that an earlier change has left unreadable stays so
            return

    def load(self) -> object:
        return load(str(self.run))

    def predict(self) -> object:
        return predict(self.predicting.copy())

    def evaluate(self) -> object:
        return evaluate(self.evaluating.copy())

    def report(self) -> object:
        return report(self.plain.copy())

    def gallery(self) -> object:
        return report(self.reporting.copy())

    def resume(self) -> object:
        """All that is looked at before a run goes on."""
        stored_configs.check_folder(self.run)
        config = resumed_config(self.resuming.copy(), self.run)
        checkpoints.read(self.run)
        checkpoint_io.CheckpointFiles().load_checkpoint(self.run / "checkpoints" / "last.ckpt")
        check_same_data(self.run, {"train": [], "val": [], "test": []}, "")
        return config


@pytest.fixture(scope="module")
def workshop(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tiny_run, tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module")
def guard(workshop: Workshop) -> Guard:
    return Guard(workshop.folder)


def hangs(number: int, frame: Any) -> None:
    raise RuntimeError(f"nothing came of it within {HANGS} s")


def memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.slow
def test_whatever_a_run_folder_holds(workshop: Workshop, guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = DataLoader
    monkeypatch.setattr(
        module, "DataLoader", lambda *words, num_workers, persistent_workers, **more: loader(*words, **more)
    )
    monkeypatch.syspath_prepend(workshop.folder)
    monkeypatch.chdir(workshop.folder)
    monkeypatch.setattr(tempfile, "tempdir", str(workshop.folder))
    done = {"told": 0, "worked": 0}

    def example(made: tuple[str, list[Any]]) -> None:
        action, changes = made
        workshop.make(changes)
        guard.seen.clear()
        guard.on, started = True, time.process_time()
        signal.alarm(HANGS)
        try:
            getattr(workshop, action)()
            done["worked"] += 1
        except (ValueError, FileNotFoundError):
            done["told"] += 1
        finally:
            signal.alarm(0)
            guard.on = False
        assert guard.seen == []
        assert time.process_time() - started < 10
        assert CANARY not in sys.modules

    signal.signal(signal.SIGALRM, hangs)
    before, end = memory(), time.monotonic() + SOAK
    quick = settings(
        max_examples=400 if SOAK else 40,
        deadline=None,
        derandomize=not SOAK,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while True:
            quick(given(examples())(example))()
            if time.monotonic() >= end:
                break
    assert done["told"] > 20
    assert memory() - before < MORE_MEMORY
