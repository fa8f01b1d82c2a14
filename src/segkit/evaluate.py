"""`python -m segkit.evaluate run=outputs/…`: the metrics of a run on its own test pictures, or on other data."""

from pathlib import Path

from omegaconf import DictConfig

from segkit.configs.command import command
from segkit.configs.settings import check_settings


def evaluate(cfg: DictConfig) -> dict[str, float]:
    """Score a run's best weights; writes results.json and per_image.csv to `cfg.output_dir`, returns the metrics."""
    settings = check_settings(cfg, "evaluate")
    folder = Path(settings["output_dir"])
    if (folder / "config.yaml").exists():
        raise ValueError(
            f"hydra.run.dir={folder} is a run folder: evaluation writes results of its own. Choose another."
        )
    from segkit.evaluation.run import evaluate_run  # imports torch and Lightning, which a mistake need not wait for
    from segkit.runs.console import log_to_console

    log_to_console()
    folder.mkdir(parents=True, exist_ok=True)
    return evaluate_run(settings, folder)


main = command("evaluate", evaluate)
if __name__ == "__main__":
    main()
