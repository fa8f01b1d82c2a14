"""Public data sets in miniature, in the layouts that they are downloaded in: each trains with one line."""

from pathlib import Path

from layouts import ask, train
from miniatures import write_chase, write_cwfid, write_drive, write_pet_archives, write_ph2


def test_drive_trains_as_downloaded(tmp_path: Path) -> None:
    write_drive(tmp_path / "DRIVE")
    said = train(tmp_path / "DRIVE", "\"dataset.ignore_masks='{split}/mask'\"".strip('"'))
    assert (
        "8 train and 6 test pictures in {training,test}/images with masks in {training,test}/1st_manual, paired by "
        in said
    )
    assert "their number (01_manual1.gif for 01_test.tif)" in said
    assert "; what is black in {split}/mask is ignored" in said
    assert "is not read" not in said


def test_drive_without_the_truth_of_test_trains_with_the_line_that_is_printed(tmp_path: Path) -> None:
    write_drive(tmp_path / "DRIVE", truth_of_test=False)
    words = ask(tmp_path / "DRIVE")
    assert words == ["dataset.images=training/images", "dataset.masks=training/1st_manual"]
    said = train(tmp_path / "DRIVE", *words)
    assert "8 pictures in training/images with masks in training/1st_manual, paired by their number" in said
    assert "say dataset.ignore_masks=training/mask" in said


def test_chase_trains_with_the_line_of_an_observer(tmp_path: Path) -> None:
    write_chase(tmp_path / "CHASE")
    words = ask(tmp_path / "CHASE", 1)
    assert words == ["dataset.image_pattern='*.jpg'", "dataset.mask_pattern='*_2ndHO.png'"]
    assert "12 pictures in CHASE with masks beside them" in train(tmp_path / "CHASE", *words)


def test_cwfid_trains_with_the_line_of_its_annotations(tmp_path: Path) -> None:
    write_cwfid(tmp_path / "CWFID")
    words = ask(tmp_path / "CWFID")
    assert words == ["dataset.images=images", "dataset.masks=annotations"]
    colors = "dataset.colors={background: [0,0,0], crop: [0,255,0], weed: [255,0,0]}"
    said = train(tmp_path / "CWFID", *words, "dataset.classes=[background,crop,weed]", colors)
    assert "10 pictures in images with masks in annotations, paired by their number" in said


def test_ph2_trains_with_the_line_that_is_printed_or_as_a_data_set_of_its_own(tmp_path: Path) -> None:
    write_ph2(tmp_path / "PH2")
    words = ask(tmp_path / "PH2")
    said = train(tmp_path / "PH2", *words)
    assert "12 pictures in PH2 Dataset images/*/*_Dermoscopic_Image with masks in PH2 Dataset images/*/*_lesion" in said
    assert "12 files beside a .bmp:" in said
    assert "The .bmp is read." in said
    train(tmp_path / "PH2", "hydra.run.dir=other", data="ph2")


def test_pets_train_as_unpacked(tmp_path: Path) -> None:
    write_pet_archives(tmp_path)
    said = train(tmp_path / "pets", "dataset.classes=[none,pet,background,border]", "loss=ce")
    assert "16 pictures in images with masks in annotations/trimaps, paired by their names" in said
    assert "7 / 1 / 8 train / val / test pictures" in train(
        tmp_path / "pets", "loss=ce", "hydra.run.dir=other", data="pets"
    )
