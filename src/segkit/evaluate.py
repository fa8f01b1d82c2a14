"""`python -m segkit.evaluate run=outputs/…`: the metrics of a run on its own test pictures, or on other data."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from segkit.configs.command import command
from segkit.configs.settings import check_settings

log = logging.getLogger("segkit")


def evaluate(cfg: DictConfig) -> dict[str, float]:
    """Score a run's best weights; writes results.json and per_image.csv to `cfg.output_dir`, returns the metrics."""
    settings = check_settings(cfg, "evaluate")
    folder = Path(settings["output_dir"])
    if (folder / "config.yaml").exists():
        raise ValueError(
            f"hydra.run.dir={folder} is a run folder: evaluation writes results of its own. Choose another."
        )
    from segkit import hardware
    from segkit.datasets.source import extras_of
    from segkit.evaluation import advice, gate
    from segkit.evaluation.gate import apply_gate
    from segkit.evaluation.other_data import evaluation_config
    from segkit.evaluation.rows import write_scores
    from segkit.evaluation.score import describe_scores, score_split
    from segkit.evaluation.sheets import save_sheet
    from segkit.evaluation.tables import show_metrics
    from segkit.files.writing import write_json
    from segkit.models.presence import find_gated
    from segkit.runs.build import build_data
    from segkit.runs.console import log_to_console
    from segkit.runs.loading import load
    from segkit.tasks.deciding import set_threshold

    log_to_console()
    folder.mkdir(parents=True, exist_ok=True)
    task = load(settings["run"], settings["trust"])
    set_threshold(task, settings["threshold"])
    config = evaluation_config(task.facts["config"], settings)
    chosen = apply_gate(task, config, settings)
    named = bool((settings["dataset"] or {}).get("root"))  # by the command line
    data = build_data(config, splits=[settings["split"]], follow_links=named)
    source = data.sources[settings["split"]]
    whole = extras_of(source).shared
    more = f" of {whole}" if whole > len(source) else ""
    plus = "" if "_target_" in settings["dataset"] else "+"  # of the run's own data set nothing else is composed
    hint = f"; '{plus}dataset.fractions=[0,0,1]' scores all" if more and settings["split"] == "test" else ""
    log.info("scoring %d%s pictures, the %s split%s", len(source), more, settings["split"], hint)
    metrics = score_split(task, data, settings["split"], config)
    write_scores(task, data, settings["split"], folder)
    told = advice.judge_scores(describe_scores(task, data, settings["split"], metrics), task.facts["config"])
    if chosen == "sweep":
        log.info("sweeping the gate")
        device = hardware.device(settings["accelerator"])
        gate.sweep(task, data, settings["split"], hardware.precision(config), device, folder)
    sheet = settings["pictures"]
    if sheet:
        save_sheet(task, data, settings["split"], folder, sheet)
    entry = {
        "status": "finished",
        "run": str(Path(settings["run"]).absolute()),
        "split": settings["split"],
        "dataset": config["dataset"],
        "precision": hardware.precision(config),
        "metrics": metrics,
        "advice": told,
    }
    if len(task.classes) == 1:
        entry["threshold"] = task.threshold
    if (gated := find_gated(task.net)) is not None:
        entry["gate"] = gated.gate
    if "protocol" in config["dataset"]:
        entry["protocol"] = config["dataset"]["protocol"]
    write_json(folder / "results.json", entry)
    for finding in told:
        log.warning("%s", finding)
    show_metrics(metrics, folder, f"gate {entry['gate']:g}" if entry.get("gate") is not None else None)
    return metrics


main = command("evaluate", evaluate)
if __name__ == "__main__":
    main()
