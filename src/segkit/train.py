"""`python -m segkit.train model=unet loss=dice dataset=ph2 …`: one run, from config to tested metrics."""

from omegaconf import DictConfig

from segkit.configs.command import command
from segkit.configs.recipe import check_planned, check_unplanned, is_planned
from segkit.configs.settings import check_settings


def train(cfg: DictConfig) -> dict[str, float]:
    """Fit, then test with the best weights; returns every final metric by its name (`test/iou`, …).

    The run folder is `cfg.run_dir`. A finished run of the same config is left alone and its metrics are returned.
    """
    settings = check_settings(cfg, "train")
    from segkit.datasets.layouts.layout import check_layout

    check_layout(settings)
    if is_planned(cfg):
        check_planned(cfg)
        from segkit.planning.plan import plan_config
        from segkit.training.trial import try_out

        cfg = plan_config(cfg, try_out)
        check_settings(cfg, "train")
    else:
        check_unplanned(cfg)
    from segkit.training.fit import run_one  # imports torch and Lightning, which a mistake need not wait for
    from segkit.training.telling import show_results

    record = run_one(cfg)
    show_results(record)
    return record.metrics


main = command("train", train)
if __name__ == "__main__":
    main()
