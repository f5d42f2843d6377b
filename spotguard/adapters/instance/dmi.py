"""Whether this machine is an EC2 instance, from what its firmware says of itself."""

from __future__ import annotations

from pathlib import Path


def on_ec2(sys: Path = Path("/sys")) -> bool:
    """True on Nitro and Xen instances, also in containers on them. Files that are missing or only for root count as silent."""
    dmi = sys / "devices/virtual/dmi/id"
    return (
        _says(dmi / "sys_vendor").startswith("amazon ec2")
        or _says(dmi / "bios_vendor").startswith("amazon ec2")
        or _says(dmi / "board_asset_tag").startswith("i-")
        or _says(dmi / "product_uuid").startswith("ec2")
        or _says(sys / "hypervisor/uuid").startswith("ec2")
    )


def _says(file: Path) -> str:
    try:
        return file.read_bytes().decode("ascii", "replace").strip().lower()
    except OSError:
        return ""
