"""Structural checks: which kinds of file can be told whole by a cheap look, and what the look found.

The look itself is I/O and lives at the edge; here are its questions and answers. Nothing is ever unpickled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from spotguard.core.checkpoint import FileStat


class Structure(StrEnum):
    """What a file's name promises about its inside."""

    SAFETENSORS = "safetensors"
    TORCH_ZIP = "torch-zip"
    """torch.save: a zip with its end record; a legacy pickle, of which no end can be told, passes."""
    ZIP = "zip"
    """A zip and nothing else: `.npz`, `.keras`."""
    BINARY = "binary"
    """A `.bin` or `.pkl` of any writer: a zip or a pickle must have its end if it begins as one, anything else must not be blank."""
    JSON = "json"
    HDF5 = "hdf5"
    TEXT = "text"
    """A pointer file: its text, up to 64 KiB, is wanted."""
    DCP_METADATA = "dcp-metadata"
    """The `.metadata` of a torch.distributed.checkpoint: a pickle of which only the names of the shards are wanted."""
    TENSOR_INDEX = "tensor-index"
    """TensorFlow's `.index`: a table of the tensors and where they are; how long the data files must be is wanted."""
    ARRAY_STORE = "array-store"
    """A manifest or data file of TensorStore's OCDBT, in which Orbax keeps arrays: nodes and values that tell their lengths."""
    UBJSON = "ubjson"
    """XGBoost's `.ubj`: one document with lengths all the way."""
    NONEMPTY = "nonempty"
    """No end of its own: more than zero bytes is all that can be asked."""
    ANY = "any"


class Probe(NamedTuple):
    """A question about one file as it was at one stat."""

    source: str
    stat: FileStat
    structure: Structure


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer."""

    sound: bool
    reason: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)
    """JSON up to 64 MiB: the top-level object without nested lists longer than 10,000 entries. TEXT: `text`. DCP_METADATA: `shards`,
    file name -> the bytes that it must at least have. TENSOR_INDEX: `data_bytes`, the same for each data file by its number. Else empty."""
    ended: bool = False
    """Whether the file has an end of its own that is written last, and it is there. A legacy pickle is sound and has none."""


_BY_SUFFIX: Mapping[str, Structure] = {
    "safetensors": Structure.SAFETENSORS,
    "pt": Structure.TORCH_ZIP,
    "pth": Structure.TORCH_ZIP,
    "ckpt": Structure.TORCH_ZIP,
    "bin": Structure.BINARY,
    "npz": Structure.ZIP,
    "keras": Structure.ZIP,
    "json": Structure.JSON,
    "h5": Structure.HDF5,
    "hdf5": Structure.HDF5,
    "pkl": Structure.BINARY,
    "ubj": Structure.UBJSON,
    "npy": Structure.NONEMPTY,
    "distcp": Structure.NONEMPTY,
    "msgpack": Structure.NONEMPTY,
    "index": Structure.NONEMPTY,
    "ocdbt": Structure.ARRAY_STORE,
}
_TORCH_BIN = re.compile(r"^(pytorch_model|adapter_model|training_args|optimizer|scheduler|diffusion_pytorch_model)[^/]*\.bin$")
"""`.bin` files that are known to be written by torch.save (transformers, accelerate, peft, diffusers)."""


def structure_of(path: str) -> Structure:
    """What the name of a file promises."""
    name = path.rpartition("/")[2]
    if _TORCH_BIN.match(name):
        return Structure.TORCH_ZIP
    return _BY_SUFFIX.get(name.rpartition(".")[2], Structure.ANY) if "." in name else Structure.ANY


def must_be_opened(structure: Structure) -> bool:
    """Whether the size alone does not answer."""
    return structure not in (Structure.ANY, Structure.NONEMPTY)
