"""The encoder of EfficientNet-Lite, with the names of timm's tensors, and without timm, whose import takes seconds."""

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

SCALES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}  # of widths and depths
NAMES = {f"tf_efficientnet_{name}": name for name in SCALES}  # in timm
STEM = 32
STAGES = (  # expansion, channels, blocks, stride, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
TAPS = (0, 1, 2, 4, 6)  # stages after which the size is 1/2, 1/4, 1/8, 1/16 and 1/32
EPS = 1e-3  # of batch norm, as in TensorFlow


class LiteEncoder(nn.Module):
    """forward(image (N, 3, H, W)) -> the image and five features, each of half the size of the one before.

    name: as in timm, tf_efficientnet_lite0 to lite2. H and W are multiples of 32: then padding is that of TensorFlow,
    with which the weights were trained. Source: https://github.com/tensorflow/tpu, models/official/efficientnet/lite,
    which is Tan & Le, 2019, without squeeze-and-excitation and with ReLU6.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        width, depth = SCALES[NAMES[name]]
        stages, channels, outputs = [], STEM, [3]
        for number, (expansion, base, repeats, stride, kernel) in enumerate(STAGES):
            out = _round(width * base)
            inner = 0 < number < len(STAGES) - 1  # the first and the last are not deepened
            count = math.ceil(depth * repeats) if inner else repeats
            blocks = []
            for at in range(count):
                blocks.append(Inverted(channels, out, expansion, kernel, stride if at == 0 else 1))
                channels = out
            stages.append(nn.Sequential(*blocks))
            outputs += [out] if number in TAPS else []
        self.out_channels = outputs
        stem = OrderedDict(_convolution("conv_stem", "bn1", 3, STEM, 3, 2), act=nn.ReLU6(inplace=True))
        self.model = nn.Sequential(OrderedDict(stem, blocks=nn.Sequential(*stages)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))

    def forward(self, image: Tensor) -> Sequence[Tensor]:
        *stem, blocks = self.model.children()
        features, taps = image, [image]
        for layer in stem:
            features = layer(features)
        for number, stage in enumerate(blocks.children()):
            features = stage(features)
            taps += [features] if number in TAPS else []
        return taps


class Inverted(nn.Sequential):
    """An inverted residual block: expansion, a depthwise convolution, projection; added to its input where it has the
    same shape. (N, width_in, H, W) to (N, width_out, H / stride, W / stride)."""

    in_order = True  # see `segkit.models.blocks.fold_batch_norm`

    def __init__(self, width_in: int, width_out: int, expansion: int, kernel: int, stride: int) -> None:
        inside, layers = expansion * width_in, OrderedDict[str, nn.Module]()
        norms = iter(("bn1", "bn2", "bn3"))
        if expansion > 1:
            layers |= _convolution("conv_pw", next(norms), width_in, inside, 1, 1)
            layers["act_pw"] = nn.ReLU6(inplace=True)
        layers |= _convolution("conv_dw", next(norms), inside, inside, kernel, stride, groups=inside)
        layers["act_dw"] = nn.ReLU6(inplace=True)
        layers |= _convolution("conv_pwl" if expansion > 1 else "conv_pw", next(norms), inside, width_out, 1, 1)
        super().__init__(layers)
        self.adds = stride == 1 and width_in == width_out

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = super().forward(features)  # type: ignore[no-untyped-call]
        return out + features if self.adds else out


def _convolution(
    name: str, norm: str, width_in: int, width_out: int, kernel: int, stride: int, groups: int = 1
) -> OrderedDict[str, nn.Module]:
    """A convolution and its batch norm; with strides, TensorFlow pads more to the right and at the bottom."""
    layers = OrderedDict[str, nn.Module]()
    padding = kernel // 2
    if stride > 1:
        before, padding = (kernel - stride) // 2, 0
        after = kernel - stride - before
        layers[f"{name}_pad"] = nn.ZeroPad2d((before, after, before, after))
    layers[name] = nn.Conv2d(width_in, width_out, kernel, stride, padding, groups=groups, bias=False)
    layers[norm] = nn.BatchNorm2d(width_out, eps=EPS)
    return layers


def _round(width: float) -> int:
    """To a multiple of 8, at most a tenth below."""
    found = max(8, int(width + 4) // 8 * 8)
    return found + 8 if found < 0.9 * width else found
