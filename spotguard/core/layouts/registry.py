"""The layouts that exist, in the order in which `auto` asks them: the most specific first, the generic ones last."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from spotguard.core.layouts.accelerate import Accelerate
from spotguard.core.layouts.base import Layout
from spotguard.core.layouts.composer import Composer
from spotguard.core.layouts.dcp import Dcp
from spotguard.core.layouts.deepspeed import DeepSpeed
from spotguard.core.layouts.generic_dir import GenericDir
from spotguard.core.layouts.generic_file import GenericFile
from spotguard.core.layouts.hf_trainer import HfTrainer
from spotguard.core.layouts.keras_backup import KerasBackup
from spotguard.core.layouts.lightning import Lightning
from spotguard.core.layouts.megatron import Megatron
from spotguard.core.layouts.nemo import NeMo
from spotguard.core.layouts.orbax import Orbax
from spotguard.core.layouts.single_file import SingleFile
from spotguard.core.layouts.tf_checkpoint import TfCheckpoint
from spotguard.core.layouts.xgboost import XGBoost

IN_ORDER: tuple[Layout, ...] = (
    HfTrainer(),
    NeMo(),
    Lightning(),
    Megatron(),
    Orbax(),
    Composer(),
    Dcp(),
    DeepSpeed(),
    Accelerate(),
    TfCheckpoint(),
    KerasBackup(),
    XGBoost(),
    SingleFile(),
    GenericDir(),
    GenericFile(),
)

LAYOUTS: Mapping[str, Layout] = MappingProxyType({layout.name: layout for layout in IN_ORDER})
"""By name."""
