"""The names of the layouts, in the order of the registry.

Apart from their rules, so that who only checks a name (the configuration) loads none of them.
"""

from __future__ import annotations

LAYOUT_NAMES = (
    "auto",
    "hf-trainer",
    "nemo",
    "lightning",
    "megatron",
    "orbax",
    "composer",
    "dcp",
    "deepspeed",
    "accelerate",
    "tf-checkpoint",
    "keras-backup",
    "xgboost",
    "single-file",
    "generic-dir",
    "generic-file",
)
"""What `watch.layout` may say."""
