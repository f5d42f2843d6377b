"""Which files that a trainer writes elsewhere are checkpoints, and which are not: in doubt none."""

from __future__ import annotations

import pytest

from spotguard.core.wrong_folder import Resemblance, output_folder, resemblance


@pytest.mark.parametrize(
    ("path", "found", "folder"),
    [
        ("/data/out/checkpoint-500/model.safetensors", Resemblance.CHECKPOINT, "/data/out"),
        ("/data/out/tmp-checkpoint-500/optimizer.pt", Resemblance.CHECKPOINT, "/data/out"),
        ("/mnt/run/sft/checkpoint-20/global_step20/mp_rank_00_model_states.pt", Resemblance.CHECKPOINT, "/mnt/run/sft"),
        ("/home/me/ckpts/step-100/__0_0.distcp", Resemblance.CHECKPOINT, "/home/me/ckpts"),
        (
            "/home/me/lightning_logs/version_0/checkpoints/epoch=1-step=100.ckpt",
            Resemblance.CHECKPOINT,
            "/home/me/lightning_logs/version_0/checkpoints",
        ),
        ("/tb_logs/version_3/checkpoints/last.ckpt", Resemblance.WEIGHTS, "/tb_logs/version_3/checkpoints"),
        ("/home/me/nanoGPT/out/ckpt.pt", Resemblance.WEIGHTS, "/home/me/nanoGPT/out"),
        ("/tmp/pytest-1/elsewhere/model.pth", Resemblance.WEIGHTS, "/tmp/pytest-1/elsewhere"),
    ],
)
def test_checkpoints(path: str, found: Resemblance, folder: str) -> None:
    assert resemblance(path) is found
    assert output_folder(path) == folder


@pytest.mark.parametrize(
    "path",
    [
        "/home/me/out/runs/Nov24/events.out.tfevents.1732.host.1.0",
        "/home/me/out/checkpoint-500/train.log",
        "/home/me/out/train.log",
        "/var/log/trainer.out",
        "/dev/shm/torch_1_2_3",
        "/dev/shm/psm_1.pt",
        "/memfd:pym-1",
        "/root/.cache/huggingface/hub/models--x/blobs/1.safetensors",
        "/root/.cache/torch/checkpoint-1/a.pt",
        "/data/cache/train.pt",
        "/data/processed/data.pt",
        "/data/train.bin",
        "/data/corpus/part-000.arrow",
        "/data/checkpoint-5/state.parquet",
        "/tmp/torchinductor_root/ab/step1/kernel.pt",
        "/home/me/wandb/run-1/files/checkpoint-1/model.pt",
        "/home/me/out/.hidden.pt",
        "/tmp/tmpabc123",
        "/home/me/core.12345",
        "/home/me/a.lock",
        "/home/me/profile.json.gz",
    ],
)
def test_what_is_no_checkpoint(path: str) -> None:
    assert resemblance(path) is Resemblance.NONE
