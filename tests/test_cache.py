"""The cache of decoded pictures: the same samples, changes noticed, and never a broken file."""

import os
import pickle
import signal
import time
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import read_picture

from segkit.configs.composing import compose, to_plain
from segkit.configs.identity import config_hash
from segkit.datasets import cache
from segkit.datasets.augment import Photometric
from segkit.datasets.folder import Folder
from segkit.datasets.module import DataModule
from segkit.runs.build import build_data


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nine pictures of two sizes, and a cache folder for this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for number in range(9):
        shape = (40, 50) if number % 2 else (48, 36)
        cv2.imwrite(str(tmp_path / f"data/images/{number}.png"), rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
        cv2.imwrite(str(tmp_path / f"data/masks/{number}.png"), rng.integers(0, 2, shape, dtype=np.uint8) * 255)
    return tmp_path / "data"


def config(root: Path, *words: str) -> dict[str, Any]:
    return to_plain(compose("dataset=folder", f"dataset.root={root}", "dataset.size=32", "run_dir=x", *words))


def samples(root: Path, *words: str) -> list[torch.Tensor]:
    """All tensors of a training epoch, the test and the scored training pictures, for a command line."""
    data = build_data(config(root, *words))
    batches = [*data.train_dataloader(), *data.test_dataloader(), *data.eval_dataloader("train")]
    return [value for batch in batches for value in batch.values() if isinstance(value, torch.Tensor)]


def files(root: Path) -> list[Path]:
    return sorted((root.parent / "xdg" / "segkit").glob("*.cache"))


@pytest.mark.parametrize("where", ["ram", "disk", "auto"])
@pytest.mark.parametrize(
    "words",
    [
        ("dataset.train=resize",),
        ("dataset.train=resize", "dataset.eval=native"),
        ("dataset.train=crop", "dataset.eval=native"),
        ("dataset.train=crop", "dataset.eval=resize"),
        ("dataset.crops=five",),
    ],
    ids=["resize", "resize-native", "crop-native", "crop-resize", "five"],
)
def test_samples_are_those_of_the_files(root: Path, where: str, words: tuple[str, ...]) -> None:
    words = (*words, "augment=flips", "dataset.batch_size=2")
    expected = samples(root, *words, "dataset.cache=off")
    for _ in range(2):  # built, then found
        for got, wanted in zip(samples(root, *words, f"dataset.cache={where}"), expected, strict=True):
            assert torch.equal(got, wanted)
    assert len(files(root)) == (0 if where == "ram" else 2)  # train and test


def test_nothing_is_decoded_twice_and_a_changed_file_is_noticed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples(root, "dataset.cache=disk")
    before = {path: path.stat().st_ino for path in files(root)}
    decoded = []
    read = cache.fill

    def counted(*given: Any) -> None:
        decoded.append(1)
        read(*given)

    monkeypatch.setattr(cache, "fill", counted)
    samples(root, "dataset.cache=disk", "dataset.batch_size=2")
    assert not decoded
    samples(root, "dataset.cache=disk", "dataset.size=16")
    assert len(decoded) == 2  # another size, train and test
    for path in (root / "images").iterdir():
        cv2.imwrite(str(path), 255 - read_picture(path))
    changed, plain = samples(root, "dataset.cache=disk"), samples(root, "dataset.cache=off")
    assert all(torch.equal(one, other) for one, other in zip(changed, plain, strict=True))
    assert len(decoded) == 4
    assert before.items() <= {path: path.stat().st_ino for path in files(root)}.items()


def test_where_it_lies_changes_no_result(root: Path) -> None:
    assert config_hash(config(root, "dataset.cache=disk")) == config_hash(config(root, "dataset.cache=off"))


def _build(root: str, home: str, out: Any) -> None:
    os.environ["XDG_CACHE_HOME"] = home
    fill = cache.fill

    def slow(*given: Any, **more: Any) -> None:
        time.sleep(1)  # so that the other one arrives meanwhile
        fill(*given, **more)
        out.put("built")

    cache.fill = slow
    out.put([float(value.double().sum()) for value in samples(Path(root), "dataset.cache=disk", "augment=none")])


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Makes processes of their own that import torch once for all of them."""
    found = get_context("forkserver")
    found.set_forkserver_preload(["segkit.runs.build", "albumentations"])
    return found


@pytest.mark.slow
def test_two_processes_at_once_build_one_file(root: Path, context: ForkServerContext) -> None:
    out = context.Queue()
    both = [context.Process(target=_build, args=(str(root), str(root.parent / "xdg"), out)) for _ in range(2)]
    for process in both:
        process.start()
    said = [out.get(timeout=120) for _ in range(4)]
    for process in both:
        process.join()
    plain = [float(value.double().sum()) for value in samples(root, "dataset.cache=off", "augment=none")]
    assert [word for word in said if word != "built"] == [plain, plain]
    assert said.count("built") == 2  # train and test, once each
    assert len(files(root)) == 2


def _die(root: str, home: str) -> None:
    os.environ["XDG_CACHE_HOME"] = home
    cache.fill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    samples(Path(root), "dataset.cache=disk")


@pytest.mark.slow
def test_a_killed_build_leaves_nothing_that_is_taken_for_a_cache(root: Path, context: ForkServerContext) -> None:
    process = context.Process(target=_die, args=(str(root), str(root.parent / "xdg")))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    left = list((root.parent / "xdg" / "segkit").glob("*.part"))
    assert left
    assert not files(root)
    os.utime(left[0], (time.time() - 2 * 86_400,) * 2)
    samples(root, "dataset.cache=disk")
    assert len(files(root)) == 2
    assert not left[0].exists()  # a day old, so nobody is writing it
    os.truncate(files(root)[0], 10)  # truncated, which is noticed
    got, plain = samples(root, "dataset.cache=disk"), samples(root, "dataset.cache=off")
    assert all(torch.equal(one, other) for one, other in zip(got, plain, strict=True))


def test_files_that_change_while_they_are_read_are_not_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill = cache.fill

    def changing(*given: Any) -> None:
        fill(*given)
        for path in (root / "images").iterdir():
            cv2.imwrite(str(path), 255 - read_picture(path))

    monkeypatch.setattr(cache, "fill", changing)
    with pytest.raises(ValueError, match="changed while they were being decoded"):
        samples(root, "dataset.cache=disk")
    assert not files(root)


def test_a_folder_that_takes_no_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ValueError, match=r"dataset\.cache=disk: No space left on device in "):
        samples(root, "dataset.cache=disk")
    got, plain = samples(root, "dataset.cache=auto"), samples(root, "dataset.cache=off")  # goes on without
    assert all(torch.equal(one, other) for one, other in zip(got, plain, strict=True))


def test_what_segkit_does_not_know_is_not_kept(root: Path) -> None:
    sources: dict[str, Any] = {"train": Folder(root, "train")}
    sources["train"].files = [
        list(pair) for pair in sources["train"].files
    ]  # lists, not pairs: treated as having no files
    sources["train"].shape = lambda index: (48, 36)
    assert DataModule(sources, size=32, settings={}).decode("train") is sources["train"]
    own = {"train": Folder(root, "train")}
    assert DataModule(own, size=32).decode("train") is own["train"]  # no settings say what its samples depend on
    assert DataModule(own, size=32, settings={}).decode("train") is not own["train"]
    assert not files(root)[1:]


def test_a_damaged_picture_is_named_before_the_training(root: Path) -> None:
    for path in (root / "images").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"images/\d\.png cannot be read"):
        build_data(config(root, "dataset.cache=disk")).train_dataloader()
    assert not files(root)


def test_files_that_nobody_opens_go(root: Path) -> None:
    samples(root, "dataset.cache=disk")
    old = files(root)
    for path in old:
        os.utime(path, (time.time() - 31 * 86_400,) * 2)
    samples(root, "dataset.cache=disk", "dataset.size=16")
    assert not set(old) & set(files(root))


def test_another_process_opens_the_file_itself(root: Path) -> None:
    data = build_data(config(root, "dataset.cache=disk"))
    source = data.decode("train")
    packed = pickle.dumps(source)
    assert len(packed) < 2000
    assert torch.equal(pickle.loads(packed)[0]["image"], source[0]["image"])


def test_auto_goes_by_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "free_disk", lambda: 1000)
    monkeypatch.setattr(cache, "free_memory", lambda: 1000)
    assert [cache.choose_place(size, size, "auto") for size in (100, 101, 250, 251)] == ["disk", "ram", "ram", "off"]
    assert cache.choose_place(5000, 0, "auto") == cache.choose_place(5000, 0, "disk") == "disk"  # it is there already


@pytest.mark.parametrize(("where", "also"), [("disk", "XDG_CACHE_HOME"), ("ram", "dataset.cache=disk")])
def test_what_does_not_fit_is_told_before_it_is_built(
    root: Path, monkeypatch: pytest.MonkeyPatch, where: str, also: str
) -> None:
    monkeypatch.setattr(cache, f"free_{'disk' if where == 'disk' else 'memory'}", lambda: 10)
    with pytest.raises(ValueError, match=rf"dataset.cache={where}: \d+ kB are needed and 0 kB are free.*{also}"):
        samples(root, f"dataset.cache={where}")


def test_the_device_changes_brightness_and_colour_as_albumentations_does() -> None:
    import albumentations as A

    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC)
    image = torch.from_numpy(smooth).permute(2, 0, 1)[None]
    lit = A.RandomBrightnessContrast((0.13, 0.13), (-0.2, -0.2), p=1.0)(image=smooth)["image"]
    got = Photometric()(image, torch.tensor([[-0.2, 0.13, 0, 0, 0]]))[0].permute(1, 2, 0).numpy()
    assert np.abs(got.astype(int) - lit).max() <= 1
    colored = A.HueSaturationValue((8, 8), (-15, -15), (10, 10), p=1.0)(image=smooth)["image"]
    got = Photometric()(image, torch.tensor([[0, 0, 8.0, -15, 10]]))[0].permute(1, 2, 0).numpy()
    assert np.abs(got.astype(int) - colored).mean() < 1.5  # OpenCV's 8-bit hue has steps of two degrees
    assert np.abs(smooth.astype(int) - colored).mean() > 8  # far from unchanged
    assert torch.equal(Photometric()(image, torch.zeros(1, 5)), image)


def test_what_the_device_does_depends_on_the_sample_alone(root: Path) -> None:
    words = ("augment=light_device", "dataset.cache=ram", "dataset.fractions=[0.8,0.1,0.1]")

    def pictures(size: int) -> dict[str, torch.Tensor]:
        data = build_data(config(root, *words, f"dataset.batch_size={size}"))
        found: dict[str, torch.Tensor] = {}
        for batch in data.train_dataloader():
            batch = data.on_after_batch_transfer(batch, 0)
            assert "photometric" not in batch
            found |= dict(zip(batch["name"], batch["image"], strict=True))
        return found

    one, seven = pictures(1), pictures(7)
    assert one.keys() == seven.keys()
    assert all(torch.equal(one[name], seven[name]) for name in one)
    plain = samples(root, "augment=flips", "dataset.batch_size=7", "dataset.fractions=[0.8,0.1,0.1]")[0]
    assert any(not torch.equal(a, b) for a, b in zip(plain, seven.values(), strict=False))
