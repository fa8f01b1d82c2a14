"""Files of a run folder that are missing, cut, no text, another run's, or folders."""

from collections.abc import Callable
from pathlib import Path

import torch

from bad_inputs.cases import Case
from bad_inputs.makers import TINY, both, run

AGAIN = ("resume=run", "trainer.max_epochs=2", "+dataset.root=data")
JUNK = bytes(range(256)) * 8
LAST, BEST = "checkpoints/last.ckpt", "checkpoints/best.ckpt"


def cut(name: str) -> Callable[[Path], None]:
    """The first half of a file."""

    def make(folder: Path) -> None:
        path = folder / "run" / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return both(run, make)


def put(name: str, content: bytes) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "run" / name).write_bytes(content)

    return both(run, make)


def gone(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "run" / name).unlink()

    return both(run, make)


def a_folder(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "run" / name).unlink()
        (folder / "run" / name).mkdir()

    return both(run, make)


def dangling(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "run" / name).unlink()
        (folder / "run" / name).symlink_to("nowhere")

    return both(run, make)


def other_network(folder: Path) -> None:
    path = folder / "run" / LAST
    checkpoint = torch.load(path, weights_only=True)
    name = next(name for name, value in checkpoint["state_dict"].items() if value.ndim == 4)
    checkpoint["state_dict"][name] = torch.zeros(3, 3, 1, 1)
    torch.save(checkpoint, path)


WRONG: dict[str, Callable[[str], Callable[[Path], None]]] = {
    "cut": cut, "folder": a_folder, "junk": lambda name: put(name, JUNK), "empty": lambda name: put(name, b""),
}
MESSAGE = "is cut short or damaged"

CASES = (
    # going on
    *(
        Case(f"resume_last_{how}", "train", AGAIN, (LAST, MESSAGE, "start a new run", "init_from="), make(LAST))
        for how, make in WRONG.items()
        if how in ("cut", "junk", "empty")
    ),
    *(
        Case(f"resume_results_{how}", "train", AGAIN, ("results.json", MESSAGE, "Remove it"), make("results.json"))
        for how, make in WRONG.items()
    ),
    *(
        Case(f"resume_config_{how}", "train", AGAIN, ("config.yaml", MESSAGE, "start a new run"), make("config.yaml"))
        for how, make in WRONG.items()
        if how in ("cut", "junk", "empty")
    ),
    *(
        Case(f"resume_metrics_{how}", "train", AGAIN, ("metrics.csv", MESSAGE, "Remove it"), make("metrics.csv"))
        for how, make in WRONG.items()
        if how in ("folder", "junk")
    ),
    *(
        Case(f"resume_split_{how}", "train", AGAIN, ("split.json", MESSAGE, "Remove it"), make("split.json"))
        for how, make in WRONG.items()
    ),
    *(
        Case(
            f"resume_environment_{how}",
            "train",
            AGAIN,
            ("environment.json", MESSAGE, "Remove it"),
            make("environment.json"),
        )
        for how, make in WRONG.items()
    ),
    *(
        Case(
            f"resume_results_is_{name}",
            "train",
            AGAIN,
            ("results.json", MESSAGE, "Remove it"),
            put("results.json", content),
        )
        for name, content in {
            "list": b"[1]",
            "number": b"7",
            "no_status": b'{"metrics": {}}',
            "no_metrics": b'{"status": "running"}',
            "odd_status": b'{"status": 1, "metrics": {}}',
        }.items()
    ),
    *(
        Case(
            f"resume_config_is_{name}",
            "train",
            AGAIN,
            ("config.yaml", MESSAGE, "start a new run"),
            put("config.yaml", content),
        )
        for name, content in {
            "list": b"- 1\n",
            "word": b"nothing\n",
            "no_model": b"dataset: {}\n",
            "bad_yaml": b"a: [1\n",
        }.items()
    ),
    Case(
        "resume_other_architecture",
        "train",
        AGAIN,
        ("last.ckpt belongs to another network", "start a new run"),
        both(run, other_network),
    ),
    Case(
        "resume_killed_before_an_epoch",
        "train",
        AGAIN,
        ("started again:", "python -m segkit.train dataset=folder", "hydra.run.dir="),
        gone(LAST),
    ),
    Case("resume_no_last", "train", AGAIN, (LAST, "is missing, so there is nothing to go on from"), gone(LAST)),
    Case("resume_last_dangling", "train", AGAIN, (LAST, "nothing to go on from"), dangling(LAST)),
    Case(
        "resume_no_config", "train", AGAIN, ("no run there (no config.yaml)", "Give a run folder"), gone("config.yaml")
    ),
    # the same command again
    *(
        Case(f"rerun_results_{how}", "train", TINY, ("results.json", MESSAGE, "Remove it"), make("results.json"))
        for how, make in WRONG.items()
    ),
    *(
        Case(
            f"rerun_config_{how}",
            "train",
            TINY,
            ("config.yaml", MESSAGE, "start a new run in another folder"),
            make("config.yaml"),
        )
        for how, make in WRONG.items()
    ),
    # evaluating and predicting
    *(
        Case(f"{verb}_best_{how}", verb, words, ("best.ckpt", "damaged"), make(BEST))
        for how, make in WRONG.items()
        if how in ("cut", "junk", "empty")
        for verb, words in (
            ("evaluate", ("run=run", "accelerator=cpu")),
            ("predict", ("run=run", "input=data/images", "output=out", "accelerator=cpu")),
        )
    ),
    *(
        Case(f"{verb}_no_best_{how}", verb, words, ("run=run", "no checkpoint there", "Give a run folder"), make(BEST))
        for how, make in (("gone", gone), ("dangling", dangling), ("folder", a_folder))
        for verb, words in (
            ("evaluate", ("run=run", "accelerator=cpu")),
            ("predict", ("run=run", "input=data/images", "output=out", "accelerator=cpu")),
        )
    ),
    # reporting
    *(
        Case(f"report_{name.split('.')[0]}_{how}", "report", ("runs=run",), ("left out", "here/run", said), make(name))
        for name, said in (
            ("results.json", "results.json"),
            ("config.yaml", "cannot be read"),
            ("per_image.csv", "cannot be read"),
        )
        for how, make in WRONG.items()
        if how in ("junk", "empty") or name != "per_image.csv"
        if how != "folder"
    ),
)
