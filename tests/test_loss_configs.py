"""The files of conf/loss: each trains, and a combination is what the command line says."""

from pathlib import Path

import hydra
import pytest
import torch
from torch import Tensor

from segkit.configs.composing import compose, to_plain
from segkit.configs.settings import check_settings
from segkit.tasks.segmentation import loss_inputs

CONF = sorted((Path(__file__).parent.parent / "conf" / "loss").glob("*.yaml"))


def test_combos_weights_are_the_command_lines_alone() -> None:
    def parts(*words: str) -> list[str]:
        config = to_plain(compose("loss=combo", *words))["loss"]
        return list(hydra.utils.instantiate(config, _convert_="all").losses)

    assert parts() == ["dice", "focal"]
    assert parts("loss.weights={bce: 1, cldice: 0.5}") == ["bce", "cldice"]
    assert parts("loss.weights={jaccard: 2}") == ["jaccard"]


def test_a_combo_is_of_every_loss_of_masks() -> None:
    parts = to_plain(compose("loss=combo", "loss.losses.focal.gamma=3"))["loss"]["losses"]
    assert sorted(parts) == [path.stem for path in CONF if path.stem not in ("combo", "joint", "presence")]
    assert parts["focal"]["gamma"] == 3
    assert parts["focal_tversky"]["gamma"] == 0.75


@pytest.mark.parametrize("words", [["loss=combo"], ["loss=combo", "loss.weights={bce: 1, lovasz: 0.5}"]])
def test_a_combo_may_be_of_one_class_though_it_could_have_others(words: list[str]) -> None:
    check_settings(compose(*words, "run_dir=x"), "train")


def test_a_part_of_several_classes_is_refused_on_one() -> None:
    with pytest.raises(ValueError, match=r"\(1 class\) disagree: CrossEntropy is for two or more classes"):
        check_settings(compose("loss=combo", "loss.weights={ce: 1, dice: 1}", "run_dir=x"), "train")


def tiny_pictures(channels: int) -> tuple[Tensor, Tensor]:
    """Logits of 0 and masks that every loss can fit: blots, of which cldice sees the middle lines."""
    mask = torch.zeros(4, 12, 12, dtype=torch.int64)
    for number in range(4):
        mask[number, 2 + number : 5 + number] = 1
        mask[number, :, 9:] = 1 if channels == 1 else 2
    mask[:, 0, :3] = 255
    return torch.zeros(4, channels, 12, 12), mask


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("path", CONF, ids=lambda path: path.stem)
def test_every_config_overfits_a_tiny_picture(path: Path, channels: int) -> None:
    assert len(CONF) >= 14
    config = to_plain(compose(f"loss={path.stem}"))["loss"]
    loss = hydra.utils.instantiate(config, _convert_="all")
    if getattr(loss, "classes", None) == ("several" if channels == 1 else "one"):
        pytest.skip("not for so many classes")
    logits, mask = tiny_pictures(channels)
    presence, label = torch.zeros(len(mask)), torch.arange(len(mask)) % 2
    given = {"logits": logits, "mask": mask, "presence": presence, "label": label}
    arguments = [given[name] for name in loss_inputs(loss)]
    optimizer = torch.optim.Adam([logits.requires_grad_(), presence.requires_grad_()], lr=0.5)
    first = loss(*arguments).item()
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(*arguments)
        value.backward()
        optimizer.step()
    least = 0.4 * first if getattr(loss, "smoothing", 0) else 0.1 * first  # of soft labels the entropy stays
    assert value.item() < least
    if "mask" in loss_inputs(loss) and path.stem != "cldice":  # which says nothing of pixels beside the lines
        prediction = logits.argmax(1) if channels > 1 else (logits[:, 0] > 0).long()
        assert torch.equal(prediction[mask != 255], mask[mask != 255])
    if "label" in loss_inputs(loss):
        assert torch.equal((presence > 0).long(), label)
