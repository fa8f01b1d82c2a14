"""What `experiment=deepcrack_best` is measured against: the U-Net of segmentation-models-pytorch (ResNet-18, from
scratch) in the loop of its documentation, float32, for the same time; the best epoch of validation is tested.

python benchmarks/peer_deepcrack.py ../shared/data/deepcrack --minutes 10 --seed 0
"""

import argparse
import random
import time
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from segkit.datasets.folder import Folder
from segkit.models.blocks import pad_to_multiple

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
SIDE, BATCH = 128, 16


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """Random windows of training pictures, mirrored left and right; whole pictures otherwise."""

    def __init__(self, source: Folder, train: bool) -> None:
        self.samples, self.train = [source[index] for index in range(len(source))], train

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = (self.samples[index]["image"].float() / 255 - MEAN) / STD, self.samples[index]["mask"].long()
        if self.train:
            top, left = (random.randint(0, size - SIDE) for size in mask.shape)
            image, mask = image[:, top : top + SIDE, left : left + SIDE], mask[top : top + SIDE, left : left + SIDE]
            if random.random() < 0.5:
                image, mask = image.flip(2), mask.flip(1)
        return image, mask[None]


def iou(net: nn.Module, data: Crops) -> float:
    """IoU of the crack, pooled over all pixels."""
    net.eval()
    both = either = 0
    with torch.inference_mode():
        for image, mask in DataLoader(data, batch_size=1):
            height, width = mask.shape[-2:]
            said = net(pad_to_multiple(image, 32))[..., :height, :width] > 0
            both += int((said & (mask == 1)).sum())
            either += int((said | (mask == 1)).sum())
    return both / either


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    np.random.seed(options.seed)
    torch.manual_seed(options.seed)
    splits = {split: Crops(Folder(options.root, split), split == "train") for split in ("train", "val", "test")}
    net = smp.Unet("resnet18", encoder_weights=None, classes=1)
    loss, optimizer = smp.losses.DiceLoss("binary", from_logits=True), torch.optim.Adam(net.parameters(), lr=1e-3)
    loader = DataLoader(splits["train"], batch_size=BATCH, shuffle=True, drop_last=True)
    ends, best, state, epochs = time.perf_counter() + 60 * options.minutes, 0.0, net.state_dict(), 0
    while time.perf_counter() < ends:
        net.train()
        for image, mask in loader:
            value = loss(net(image), mask)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if time.perf_counter() > ends:
                break
        epochs += 1
        if (found := iou(net, splits["val"])) > best:
            best, state = found, {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net.load_state_dict(state)
    print(f"seed {options.seed}: {epochs} epochs, val IoU {best:.4f}, test IoU {iou(net, splits['test']):.4f}")


if __name__ == "__main__":
    main()
