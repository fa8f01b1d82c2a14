"""Test-time augmentation: a network that looks at a picture in several views."""

from torch import Tensor, nn

from segkit import VIEWS

LEAST = 1e-7  # probability; smaller ones have no finite logit in float32


class Views(nn.Module):
    """forward(image (N, 3, H, W)) -> logits (N, C, H, W) of the mean probabilities over views of the picture.

    how: "mirror", as it is and left to right; "flips", also upside down, and both; "d4", also each of these turned by
    90°, all symmetries of the square. net: gives mask logits alone. C = 1: probabilities are sigmoids, else softmax.
    """

    def __init__(self, net: nn.Module, how: str) -> None:
        super().__init__()
        if VIEWS.get(how, 1) == 1:
            raise ValueError(f"tta={how}: expected one of {', '.join(VIEWS)}.")
        self.net, self.how, self.count = net, how, VIEWS[how]

    def forward(self, image: Tensor) -> Tensor:
        total = activate(self.net(image))
        for number in range(1, self.count):
            total = total + flip_back(activate(self.net(flip(image, number))), number)
        return to_logits(total / self.count)


def activate(logits: Tensor) -> Tensor:
    """Mask logits (N, C, H, W) to probabilities, float32: sigmoid for one class, else softmax."""
    logits = logits.float()
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def to_logits(probabilities: Tensor) -> Tensor:
    """Probabilities (N, C, H, W) to logits whose `activate` gives them again."""
    here = probabilities.clamp(min=LEAST)
    return here.logit(LEAST) if here.shape[1] == 1 else here.log()


def flip(image: Tensor, number: int) -> Tensor:
    """View `number` (0..7) of pictures (N, C, H, W): bit 0 mirrors left to right, bit 1 upside down, and bit 2 then
    exchanges rows and columns."""
    flat = _mirror(image, number)
    return flat.transpose(2, 3) if number & 4 else flat


def flip_back(view: Tensor, number: int) -> Tensor:
    """The opposite of `flip`."""
    return _mirror(view.transpose(2, 3) if number & 4 else view, number)


def _mirror(image: Tensor, number: int) -> Tensor:
    sides = [side for bit, side in ((1, 3), (2, 2)) if number & bit]
    return image.flip(sides) if sides else image
