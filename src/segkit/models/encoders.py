"""Networks on pretrained encoders: the architectures of segmentation-models-pytorch, and a MobileNetV2."""

import difflib
import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segkit.models.blocks import ConvBlock, pad_to_multiple
from segkit.models.lite import NAMES as LITE
from segkit.models.lite import LiteEncoder
from segkit.models.unet import Decoder

Normalisation = tuple[Sequence[float], Sequence[float]]  # mean and std of pictures in 0..1, per channel
IMAGENET: Normalisation = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF: Normalisation = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
DPN: Normalisation = ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3)
# What smp's own encoders were trained with, by prefix of their names; smp would ask a server for it.
OTHERS = {"inception": HALF, "xception": HALF, "timm-tf_efficientnet_lite": HALF, "dpn": DPN}
LEVELS = 5  # of an encoder, each with half the size of the one before
ARCHITECTURES = (
    "Unet",
    "UnetPlusPlus",
    "FPN",
    "DeepLabV3",
    "DeepLabV3Plus",
    "PSPNet",
    "Linknet",
    "MAnet",
    "PAN",
    "UPerNet",
    "Segformer",
    "DPT",
)
# Options of timm and smp that make an encoder load files, which a stranger's config must not do.
TAKEN = {"encoder_weights", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"}


class OnEncoder(nn.Module):
    """A network on an encoder of segmentation-models-pytorch or timm, whose name there is `encoder_name`."""

    encoder_name: str

    def _encoder(self, weights: str | bool | None) -> Any:
        """The encoder, with the weights of its library that are called so."""
        raise NotImplementedError

    @property
    def normalisation(self) -> Normalisation:
        """What the encoder was trained with."""
        return normalisation_of(self.encoder_name)

    def imagenet(self) -> Mapping[str, Tensor]:
        """The encoder's weights from its library, which downloads them once."""
        weights = True if self.encoder_name.startswith("tu-") else "imagenet"
        state: Mapping[str, Tensor] = self._encoder(weights).state_dict()
        return state


class Smp(OnEncoder):
    """An architecture of segmentation-models-pytorch, for pictures of any size.

    encoder: one of its encoders (resnet18, mit_b0) or any of timm's (convnext_tiny); random until `weights` are loaded.
    options: further arguments of the architecture, such as decoder_channels. (N, 3, H, W) to logits (N,
    out_channels, H, W).
    """

    def __init__(self, architecture: str, encoder: str, out_channels: int, **options: Any) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture={architecture!r}, expected one of {', '.join(ARCHITECTURES)}.")
        if taken := sorted(TAKEN & set(options)):
            raise ValueError(f"model.net.{taken[0]} is not for here: weights=… says where an encoder's weights are.")
        self.architecture, self.out_channels, self.options = architecture, out_channels, options
        self.encoder_name = encoder_name(encoder)
        self.model = self._build(weights=None)
        # PAN pools its last features three times more
        self.stride = 128 if architecture == "PAN" else math.lcm(32, self.model.encoder.output_stride)

    def _build(self, weights: str | bool | None) -> Any:
        smp = importlib.import_module("segmentation_models_pytorch")  # seconds
        architecture = getattr(smp, self.architecture)
        try:
            return architecture(
                encoder_name=self.encoder_name, encoder_weights=weights, classes=self.out_channels, **self.options
            )
        except (TypeError, ValueError, AssertionError, RuntimeError, AttributeError, KeyError) as error:
            raise ValueError(
                f"{self.architecture} of segmentation-models-pytorch does not take encoder {self.encoder_name!r} with "
                f"{self.options or 'its defaults'}: {error}"
            ) from error

    def _encoder(self, weights: str | bool | None) -> Any:
        return self._build(weights).encoder

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        logits: Tensor = self.model(pad_to_multiple(image, self.stride))
        return logits[..., :height, :width]


class DetailUNet(OnEncoder):
    """A U-Net on an encoder of segmentation-models-pytorch or timm, with a narrow decoder and a skip of full
    resolution, for pictures of any size.

    Pretrained encoders begin with a step of two pixels, so that what is thinner is lost to their U-Nets; here a 3×3
    convolution of `detail` channels looks at the picture itself. widths: of the decoder, from the deepest level. (N, 3,
    H, W) to logits (N, out_channels, H, W).
    """

    def __init__(
        self, encoder: str, out_channels: int, widths: Sequence[int] = (64, 48, 32, 16, 8), detail: int = 8
    ) -> None:
        super().__init__()
        if len(widths) != LEVELS:
            raise ValueError(f"model.net.widths={list(widths)}: expected {LEVELS} numbers, one a level.")
        self.encoder_name = f"tu-{encoder}" if encoder in LITE else encoder_name(encoder)
        self.encoder = LiteEncoder(encoder) if encoder in LITE else self._encoder(None)
        *skips, deep = self.encoder.out_channels[1:]
        self.detail = ConvBlock((3, detail))
        inputs = [a + b for a, b in zip((deep, *widths), (*reversed(skips), detail), strict=False)]
        blocks = [ConvBlock((a, b, b)) for a, b in zip(inputs, widths, strict=True)]
        self.decoder = Decoder([nn.Upsample(scale_factor=2) for _ in widths], blocks)
        self.head = nn.Conv2d(widths[-1], out_channels, 3, padding=1)

    def _encoder(self, weights: str | bool | None) -> Any:
        smp = importlib.import_module("segmentation_models_pytorch")  # seconds
        return smp.encoders.get_encoder(self.encoder_name, 3, LEVELS, weights)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        padded = pad_to_multiple(image, 2**LEVELS)
        features = self.encoder(padded)[1:]
        logits: Tensor = self.head(self.decoder([self.detail(padded), *features]))
        return logits[..., :height, :width]


def encoder_name(name: str) -> str:
    """smp's name of an encoder; timm's get the prefix "tu-". Raises ValueError with the closest names."""
    smp = importlib.import_module("segmentation_models_pytorch")
    timm = importlib.import_module("timm")
    own, bare = smp.encoders.get_encoder_names(), name.removeprefix("tu-")
    if name in own:
        return name
    if timm.is_model(bare):
        return f"tu-{bare}"
    near = difflib.get_close_matches(bare, {*own, *timm.list_models()}, 4, 0.5)
    raise ValueError(f"model.net.encoder={name}: there is no such encoder. Did you mean {', '.join(near) or own[0]}?")


def normalisation_of(name: str) -> Normalisation:
    if name.removeprefix("tu-") in LITE:
        return HALF
    if name.startswith("tu-"):
        config = importlib.import_module("timm").models.get_pretrained_cfg(name.removeprefix("tu-"))
        return (tuple(config.mean), tuple(config.std)) if config else IMAGENET
    return next((found for prefix, found in OTHERS.items() if name.startswith(prefix)), IMAGENET)


class MobileNetUNet(nn.Module):
    """The U-Net on MobileNetV2 from TensorFlow's segmentation tutorial, for pictures of any size; 6.5 M parameters.

    Skips are the expanded features of blocks 1, 3, 6 and 13 (strides 2, 4, 8, 16), the decoder starts from the last
    projection (stride 32). widths: of the decoder, whose transposed 3×3 convolutions double the size. dropout: in it.
    (N, 3, H, W) to logits (N, out_channels, H, W).
    """

    SKIPS = (2, 4, 7, 14)  # of torchvision's `features`: each expands, then halves the size
    LAST = 17
    normalisation = IMAGENET  # of torchvision's weights; those of Keras need -1..1

    def __init__(self, out_channels: int, widths: Sequence[int] = (512, 256, 128, 64), dropout: float = 0.0) -> None:
        super().__init__()
        from torchvision.models import mobilenet_v2

        if len(widths) != len(self.SKIPS):
            raise ValueError(f"model.net.widths={list(widths)}: expected {len(self.SKIPS)} numbers, one a skip.")
        layers = mobilenet_v2(weights=None).features[: self.LAST + 1]
        self.encoder = nn.ModuleDict({"features": layers})  # named as in the files of weights
        skips = [int(layers[at].conv[0][0].out_channels) for at in reversed(self.SKIPS)]
        inputs = [int(layers[self.LAST].out_channels), *(a + b for a, b in zip(widths, skips, strict=True))]
        self.decoder = nn.ModuleList(_upsampling(a, b, dropout) for a, b in zip(inputs, widths, strict=False))
        self.head = nn.ConvTranspose2d(inputs[-1], out_channels, 3, stride=2, padding=1, output_padding=1)

    def imagenet(self) -> Mapping[str, Tensor]:
        """The encoder's weights, downloaded once by torchvision, which checks their hash."""
        from torchvision.models import MobileNet_V2_Weights

        state: Mapping[str, Tensor] = MobileNet_V2_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True)
        return state

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        features, skips = pad_to_multiple(image, 32), []
        layers: Any = self.encoder["features"]
        for at, layer in enumerate(layers):
            if at in self.SKIPS:
                expand, *rest = layer.conv
                features = expand(features)
                skips.append(features)
                for part in rest:
                    features = part(features)
            else:
                features = layer(features)
        for up, skip in zip(self.decoder, reversed(skips), strict=True):
            features = torch.cat((up(features), skip), dim=1)
        logits: Tensor = self.head(features)
        return logits[..., :height, :width]


def _upsampling(width_in: int, width_out: int, dropout: float) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(width_in, width_out, 3, stride=2, padding=1, output_padding=1, bias=False)
    nn.init.normal_(convolution.weight, std=0.02)
    drop = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(convolution, nn.BatchNorm2d(width_out), *drop, nn.ReLU(inplace=True))


def encoder_of(net: nn.Module) -> nn.Module | None:
    """The module called `encoder`, of a network or of a network inside it; None if there is none."""
    return next((module for name, module in net.named_modules() if name.rpartition(".")[2] == "encoder"), None)
