"""What `--help` teaches by example: for each command, lines that work as they stand but for the names in them."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": (
        "spotguard demo",
        "spotguard run --dir out --url s3://my-bucket/run1 -- python train.py --resume_from_checkpoint {checkpoint}",
        "spotguard status --watch",
    ),
    "daemon": (
        "spotguard daemon --dir out --url s3://my-bucket/run1",
        "spotguard daemon -c /etc/spotguard/config.yaml --set upload.max_megabits_per_second=500",
    ),
    "sync": ("spotguard sync --dir out --url s3://my-bucket/run1",),
    "restore": (
        "spotguard restore --dir out --url s3://my-bucket/run1",
        "spotguard restore sft/checkpoint-1200 --to /tmp/look --url s3://my-bucket/run1",
        "spotguard restore --stage sft",
    ),
    "resume": ("spotguard resume -- python train.py --resume_from_checkpoint {checkpoint}",),
    "run": (
        "spotguard run --dir out --url s3://my-bucket/run1 -- python train.py --resume_from_checkpoint {checkpoint}",
        "spotguard run --set trainer.recipe=torchrun -- torchrun --nproc-per-node 4 train.py --resume {checkpoint}",
        "spotguard run --fresh -- python train.py",
    ),
    "list": ("spotguard list --url s3://my-bucket/run1", "spotguard list --stage sft --json | jq -r '.checkpoints[0].name'"),
    "verify": ("spotguard verify", "spotguard verify sft/checkpoint-1200 --json"),
    "adopt": ("spotguard adopt --url s3://my-bucket/run1", "spotguard adopt checkpoint-1200"),
    "bucket": (
        "spotguard bucket create --url s3://my-bucket/run1 --dry-run",
        "spotguard bucket check --url s3://my-bucket/run1",
        "spotguard bucket policy --url s3://my-bucket/run1 > policy.json",
    ),
    "status": ("spotguard status", "spotguard status --watch", "spotguard status --check && echo fine"),
    "drill": ("spotguard drill", "spotguard drill --json"),
    "doctor": ("spotguard doctor", "spotguard doctor --json | jq '.checks[] | select(.verdict == \"error\")'"),
    "config": ("spotguard config", "SPOTGUARD_UPLOAD__CONCURRENCY=4 spotguard config --json"),
    "demo": ("spotguard demo", "spotguard demo --json 2>/dev/null"),
}


def epilog(command: str) -> str:
    """For click: a block whose lines are not wrapped."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in EXAMPLES[command])))
