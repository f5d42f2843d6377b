"""Real files of the kinds that frameworks write, made by hand."""

from __future__ import annotations

import io
import json
import struct
import zipfile


def safetensors(payload_bytes: int = 4000) -> bytes:
    header = json.dumps(
        {"__metadata__": {"format": "pt"}, "w": {"dtype": "U8", "shape": [payload_bytes], "data_offsets": [0, payload_bytes]}}
    )
    encoded = header.encode()
    return struct.pack("<Q", len(encoded)) + encoded + b"\x07" * payload_bytes


def torch_zip(payload_bytes: int = 4000) -> bytes:
    """As torch.save lays it out: stored, not deflated."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
        archive.writestr("archive/data/0", b"\x05" * payload_bytes)
        archive.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def hf_checkpoint(step: int) -> dict[str, bytes]:
    """The files of one save of one process, in the order in which the Trainer writes them."""
    return {
        "config.json": json.dumps({"model_type": "gpt2"}).encode(),
        "model.safetensors": safetensors(),
        "tokenizer.json": json.dumps({"model": {"vocab": {"a": 0}}}).encode(),
        "training_args.bin": torch_zip(100),
        "optimizer.pt": torch_zip(),
        "scheduler.pt": torch_zip(100),
        "rng_state.pth": torch_zip(300),
        "trainer_state.json": json.dumps({"global_step": step, "log_history": [{"loss": 1.5}]}).encode(),
    }
