"""Run folders and checkpoints changed as a stranger would change them."""

import io
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from bad_inputs.makers import run

BEST, LAST = "run/checkpoints/best.ckpt", "run/checkpoints/last.ckpt"
PREDICT = ("run=run", "input=data/images", "output=out", "accelerator=cpu")
EVALUATE = ("run=run", "accelerator=cpu", "hydra.run.dir=scored")
RESUME = ("resume=run", "trainer.max_epochs=2")
REPORT = ("runs=run",)
SMP = {"_target_": "segkit.models.encoders.Smp", "architecture": "Unet", "encoder": "resnet18", "out_channels": 1}
SYSTEM = {"_target_": "os.system", "command": "touch pwned"}
Make = Callable[[Path], None]


def put(node: Any, key: str, value: Any) -> None:
    """Set what a dotted key names; DELETE removes it."""
    *above, last = key.split(".")
    for name in above:
        node = node[name]
    if value is DELETE:
        del node[last]
    else:
        node[last] = value


DELETE = object()


def facts(key: str, value: Any, file: str = BEST) -> Make:
    """A checkpoint that says something else of itself: `config.model.net.widths`, `threshold`."""

    def make(folder: Path) -> None:
        run(folder)
        checkpoint = torch.load(folder / file, weights_only=True)
        put(checkpoint["segkit"], key, value)
        torch.save(checkpoint, folder / file)

    return make


def net(key: str, value: Any) -> Make:
    return facts(f"config.model.net.{key}", value)


def config(key: str, value: Any) -> Make:
    """A run folder with something else in its config.yaml; `{out}` is a place outside of it."""

    def make(folder: Path) -> None:
        run(folder)
        path = folder / "run" / "config.yaml"
        found = yaml.safe_load(path.read_text())
        put(found, key, outside(value, folder))
        path.write_text(yaml.safe_dump(found))

    return make


def outside(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {key: outside(below, folder) for key, below in value.items()}
    return value.replace("{out}", str(folder / "victim")).replace("{run}", str(folder / "run")) if isinstance(
        value, str
    ) else value


def text(content: str, file: str = "config.yaml") -> Make:
    """A file of the run folder with this content, `{old}` being what it had."""

    def make(folder: Path) -> None:
        run(folder)
        path = folder / "run" / file
        path.write_text(content.replace("{old}", path.read_text()))

    return make


class Evil:
    """Touches a file where it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


def pickled(file: str) -> Make:
    """A checkpoint in which code lies, that keeps everything else."""

    def make(folder: Path) -> None:
        run(folder)
        checkpoint = torch.load(folder / file, weights_only=True)
        torch.save(checkpoint | {"evil": Evil()}, folder / file)

    return make


def raw(content: Callable[[], bytes], file: str = BEST) -> Make:
    def make(folder: Path) -> None:
        run(folder)
        (folder / file).write_bytes(content())

    return make


def archive(compression: int = zipfile.ZIP_STORED, change: Callable[[str, bytes], bytes] | None = None) -> Make:
    """best.ckpt packed anew."""

    def make(folder: Path) -> None:
        run(folder)
        old, stream = zipfile.ZipFile(folder / BEST), io.BytesIO()
        with zipfile.ZipFile(stream, "w", compression) as new:
            for name in old.namelist():
                new.writestr(name, change(name, old.read(name)) if change else old.read(name))
        old.close()
        (folder / BEST).write_bytes(stream.getvalue())

    return make


def bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("archive/data.pkl", b"\0" * 300_000_000)
        new.writestr("archive/version", "3\n")
    return stream.getvalue()


def many(count: int = 25) -> Make:
    """A list that is in a list ten times, and so on: as few bytes as one."""
    node: Any = [0]
    for _ in range(count):
        node = [node] * 10
    return facts("config.model.net.widths", node)


def state(change: Callable[[dict[str, Any]], None], file: str = BEST) -> Make:
    def make(folder: Path) -> None:
        run(folder)
        checkpoint = torch.load(folder / file, weights_only=True)
        change(checkpoint)
        torch.save(checkpoint, folder / file)

    return make


def raw_pickle(content: Callable[[], bytes]) -> Make:
    """best.ckpt with another pickle."""
    return archive(change=lambda name, old: content() if name.endswith("data.pkl") else old)


def reduced(name: bytes, argument: bytes) -> Make:
    """A pickle that calls something with one value."""
    return raw_pickle(lambda: b"\x80\x02" + name + argument + b"\x85R.")


def expand_moments(checkpoint: dict[str, Any]) -> None:
    """The same of what the optimiser keeps."""
    for moments in checkpoint["optimizer_states"][0]["state"].values():
        moments["exp_avg"] = torch.zeros(1).expand(10**9)


def expand(checkpoint: dict[str, Any]) -> None:
    """One number that claims to be a weight of any size."""
    name = next(name for name, value in checkpoint["state_dict"].items() if value.ndim == 4)
    checkpoint["state_dict"][name] = torch.zeros(1).expand(10**12)


def other_type(checkpoint: dict[str, Any]) -> None:
    name = next(name for name, value in checkpoint["state_dict"].items() if value.ndim == 4)
    checkpoint["state_dict"][name] = {"a": 1}


def best_elsewhere(checkpoint: dict[str, Any]) -> None:
    """The best checkpoint so far, which a better one replaces, is said to be somebody's file."""
    for found in checkpoint["callbacks"].values():
        if "best_model_path" in found:
            victim = f"{found['dirpath']}/../../victim/file"
            found |= {"best_model_path": victim, "kth_best_model_path": victim, "best_k_models": {victim: 0.0}}
            found |= {"best_model_score": torch.tensor(-1.0), "kth_value": torch.tensor(-1.0)}


def victim(folder: Path) -> None:
    """A file of the person's beside the run."""
    (folder / "victim").mkdir()
    (folder / "victim" / "file").write_text("mine\n")


def link(name: str, to: str = "../victim") -> Make:
    """Something in the run folder that is a link out of it."""

    def make(folder: Path) -> None:
        run(folder)
        victim(folder)
        path = folder / "run" / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(to)

    return make


def stage(*words: str) -> Make:
    """A run of one stage with these words, which is still to be done."""

    def make(folder: Path) -> None:
        config("stages", {"one": list(words)})(folder)
        text('{"status": "interrupted", "metrics": {}}', "results.json")
        (folder / "run" / "results.json").write_text('{"status": "interrupted", "metrics": {}}')

    return make


def more(folder: Path, **settings: Any) -> None:
    """Further settings in the run's config.yaml."""
    path = folder / "run" / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | settings))


def evil_module(folder: Path) -> None:
    """A module in the working directory that says that it was imported."""
    (folder / "canary.py").write_text("open('pwned', 'w')\n")


def fifo(name: str) -> Make:
    def make(folder: Path) -> None:
        run(folder)
        (folder / "run" / name).unlink()
        os.mkfifo(folder / "run" / name)

    return make


def repository(folder: Path) -> None:
    """A repository whose config names a program, with a commit."""
    (folder / ".git" / "refs" / "heads").mkdir(parents=True)
    (folder / ".git" / "objects").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / ".git" / "refs" / "heads" / "main").write_text("1" * 40 + "\n")
    (folder / ".git" / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tfsmonitor = touch pwned\n")


def pipe(name: str) -> Make:
    """A pipe in the run folder where a file may be written."""

    def make(folder: Path) -> None:
        run(folder)
        (folder / "run" / name).unlink(missing_ok=True)
        os.mkfifo(folder / "run" / name)

    return make


def products(root: str | None) -> dict[str, Any]:
    loading = {"size": 32, "train": "resize", "eval": "resize", "crops": "none", "batch_size": 2, "workers": 0}
    return loading | {"_target_": "segkit.datasets.product_masks.ProductMasks", "root": root, "name": "evil/repo",
                      "classes": ["a", "b"], "cache": "off"}


DRAWN = {"_target_": "segkit.datasets.synthetic.Synthetic", "size": 32, "train": "resize", "eval": "resize",
         "crops": "none", "batch_size": 2, "workers": 0, "classes": ["crack"], "cache": "off"}


def pets(folder: Path) -> None:
    loading = {"size": 32, "train": "resize", "eval": "resize", "crops": "none", "batch_size": 2, "workers": 0}
    dataset = loading | {"_target_": "segkit.datasets.pets.Pets", "root": str(folder / "pets"), "classes": ["pet"],
                         "download": True, "cache": "off"}
    facts("config.dataset", dataset)(folder)


