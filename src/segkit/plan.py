"""`python -m segkit.plan dataset=… budget=…`: what `recipe=auto` would choose, with reasons, and nothing trained."""

import time
from pathlib import Path

from omegaconf import DictConfig

from segkit import console
from segkit.configs.command import command
from segkit.configs.recipe import check_planned, own_words
from segkit.configs.settings import check_settings


def plan(cfg: DictConfig) -> None:
    """Write plan.yaml, an experiment that trains as planned, and plan.md into `cfg.output`, and print the choices."""
    started = time.perf_counter()
    settings = check_settings(cfg, "plan")
    if settings["recipe"] == "none":
        raise ValueError("recipe=none plans nothing: leave it out, or say recipe=auto.")
    check_planned(cfg)
    from segkit.datasets.layouts.layout import check_layout

    check_layout(settings)
    from segkit.planning.pages import describe_rival, write_plan
    from segkit.planning.plan import make_plan

    words, folder = own_words(cfg), Path(settings["output"])
    made = make_plan(words, started)
    write_plan(made, words, folder)
    for choice in made.choices:
        console.say(f"{' '.join(choice.words)}\n    {choice.why}")
    if made.rival:
        console.say(describe_rival(made.rival))
    root = [word for word in words if word.startswith("dataset.root=")]
    console.say(" ".join(["Next:\n  python -m segkit.train", f"experiment={folder / 'plan.yaml'}", *root]))


main = command("plan", plan)
if __name__ == "__main__":
    main()
