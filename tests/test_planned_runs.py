"""Which trainings are planned, planned runs, and plans as experiments."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import results, segkit
from omegaconf import OmegaConf

from segkit.configs.composing import compose
from segkit.configs.recipe import is_planned
from segkit.planning.plan import stored_plan
from segkit.training.fit import check_plan


def test_a_planned_run_says_what_was_chosen_and_keeps_to_the_budget(tmp_path: Path) -> None:
    drawn = ["dataset.counts=[40,8,8]", "dataset.picture_size=64", "model.net.widths=[4,8,16]", "seed=3"]
    done = segkit("recipe=auto", "budget=4s", *drawn, "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "plan: dataset.size=[" in done.stderr
    assert "plan: model=" not in done.stderr  # the command's own
    found = results(tmp_path / "run")
    assert 3 < found["budget"]["used"] < 6
    assert found["plan"]["choices"][0]["words"] == ["dataset.size=[64,64]"]
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["model"]["net"]["widths"] == [4, 8, 16]
    assert config["seed"] == 3
    assert config["plan"]["machine"].startswith(("cpu", "cuda"))
    assert all(choice["why"] for choice in config["plan"]["choices"])
    again = segkit("resume=run", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    same = segkit("recipe=auto", "budget=4s", *drawn, "hydra.run.dir=run", cwd=tmp_path)  # left alone: it is done
    assert same.returncode == 0, same.stderr
    assert results(tmp_path / "run") == found


def test_a_stored_plan_is_taken_only_if_it_holds_settings(tmp_path: Path) -> None:
    def store(*words: str) -> None:
        plan = {"choices": [{"words": list(words), "why": ""}]}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({"overrides": ["dataset=folder"], "plan": plan}))

    cfg = OmegaConf.create({"run_dir": str(tmp_path), "overrides": ["dataset=folder"]})
    assert stored_plan(cfg) is None
    store("dataset.size=64")
    assert (stored_plan(cfg) or {})["choices"][0]["words"] == ["dataset.size=64"]
    cfg.overrides = ["dataset=folder", "seed=1"]
    assert stored_plan(cfg) is None
    cfg.overrides = ["dataset=folder"]
    store("+callbacks.x._target_=os.mkdir")
    assert stored_plan(cfg) is None


def test_a_plan_is_an_experiment_that_trains_as_it_says(tmp_path: Path) -> None:
    drawn = ["dataset=synthetic", "dataset.counts=[40,8,8]", "dataset.picture_size=64", "model=unet_small"]
    done = segkit(*drawn, "model.net.widths=[4,8]", "budget=4s", "loss=dice", module="plan", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "plan" / "plan.md").read_text()
    assert "| train | 40 |" in page
    assert "`dataset.batch_size=4` | at most a tenth of 40 training pictures" in page
    assert re.search(r"^\| the network that was named \| \d+ \| \d+ \|$", page, re.MULTILINE)
    assert done.stdout.splitlines()[-1].split() == ["python", "-m", "segkit.train", "experiment=plan/plan.yaml"]
    words = ["experiment=plan/plan.yaml", "seed=1", "hydra.run.dir=run"]
    trained = segkit(*words, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["choices"]["loss"] == "dice"
    assert config["model"]["net"]["widths"] == [4, 8]
    assert (config["dataset"]["batch_size"], config["dataset"]["counts"]) == (4, [40, 8, 8])
    assert (config["seed"], config["budget"], config["name"]) == (1, "4s", "plan")
    assert 3 < results(tmp_path / "run")["budget"]["used"] < 6
    assert "plan: dataset.batch_size=4 (at most a tenth" in trained.stderr
    assert "segkit.train -m experiment=plan/plan.yaml seed=0,1,2" in trained.stdout
    again = segkit("resume=run", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "segkit.predict run=" in again.stdout
    assert "experiment=plan" not in again.stdout  # the folder does not know where the file was
    words = ["experiment=plan/plan.yaml", "dataset.picture_size=48", "budget=2s", "hydra.run.dir=other"]
    other = segkit(*words, cwd=tmp_path)
    assert other.returncode == 1
    assert re.search(
        r"The plan was made for other data: their fingerprint is \w+, and that of these \w+\.", other.stderr
    )
    assert "force=true trains as planned" in other.stderr
    forced = segkit(*words, "force=true", cwd=tmp_path)
    assert forced.returncode == 0, forced.stderr


def test_a_plan_for_a_gpu_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    run = SimpleNamespace(fingerprint="a")
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    plan = {"machine": "cuda, cuda:0, bf16-mixed", "data": "a"}
    with pytest.raises(ValueError, match="made for cuda, cuda:0, bf16-mixed, and torch finds no GPU here"):
        check_plan(run, {"plan": plan})  # type: ignore[arg-type]
    check_plan(run, {"plan": plan, "force": True})  # type: ignore[arg-type]
    check_plan(run, {"plan": plan | {"machine": "cpu, 2 threads, 32-true"}})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("gone.yaml", None, "experiment=gone.yaml: there is no such file"),
        ("camvid.yaml", "{}", "experiment=camvid.yaml: did you mean camvid?"),
        ("list.yaml", "- 1", "experiment=list.yaml is no experiment: expected settings by name"),
        ("cut.yaml", "optimizer: {lr: ", "cut.yaml"),
        *(
            (
                f"{name}.yaml",
                text,
                f"experiment={name}.yaml says {said}: a file that is named by its path holds settings",
            )
            for name, text, said in (
                ("calls", "hydra: {callbacks: {x: {_target_: os.mkdir}}}", "hydra"),
                ("starts", "defaults: [{override /hydra/launcher: joblib}]", "/hydra"),
                ("builds", "callbacks: {x: {_target_: os.mkdir, path: x}}", "_target_"),
                ("says", "stages: {a: ['+callbacks.x._target_=os.mkdir']}", "_target_"),
                ("reads", "name: ['x ${oc.env:HOME}']", "${oc.env:"),
                ("nests", "name: '${ ${x} }'", "${ ${"),
            )
        ),
    ],
)
def test_a_file_that_is_no_experiment_is_told(tmp_path: Path, name: str, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    done = segkit(f"experiment={name}", cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name] * (text is not None)


@pytest.mark.parametrize(
    ("words", "planned"),
    [
        (["dataset=folder"], True),
        (["dataset=folder", "budget=3m", "model=unet", "loss=dice", "dataset.size=128", "trainer=cpu"], True),
        (["dataset=folder", "recipe=none"], False),
        (["dataset=folder", "trainer.max_epochs=3"], False),
        (["dataset=folder", "dataset.epochs=3"], False),
        (["dataset=folder", "experiment=own_class"], False),
        (["dataset=folder", "loss=presence", "model=vgg_classifier"], False),
        (["dataset=folder", "dataset.presence_threshold=0.01"], False),
        (["dataset=folder", "dataset.crops=grid"], False),
        (["model=unet", "loss=dice"], False),
        (["recipe=auto", "budget=3m"], True),
        (["dataset=ph2", "recipe=auto", "trainer.max_epochs=3"], True),
    ],
)
def test_folders_are_planned_unless_something_else_is_said(words: list[str], planned: bool) -> None:
    roots = ["dataset.root=x"] if any("=folder" in word or "=ph2" in word for word in words) else []
    assert is_planned(compose(*words, *roots, "run_dir=x")) == planned
