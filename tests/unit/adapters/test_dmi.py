"""Whether this is an EC2 instance, from firmware files as the instance types have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from spotguard.adapters.instance.dmi import on_ec2

DMI = "devices/virtual/dmi/id"


@pytest.mark.parametrize(
    ("file", "content", "ec2"),
    [
        (f"{DMI}/sys_vendor", "Amazon EC2\n", True),
        (f"{DMI}/board_asset_tag", "i-0123456789abcdef0\n", True),
        (f"{DMI}/product_uuid", "EC2A1B2C-0000-0000-0000-000000000000\n", True),
        ("hypervisor/uuid", "ec2a1b2c-0000-0000-0000-000000000000\n", True),
        (f"{DMI}/sys_vendor", "QEMU\n", False),
        (f"{DMI}/board_asset_tag", "Not Specified\n", False),
        (f"{DMI}/product_uuid", "\xff\xfe", False),
    ],
)
def test_the_firmware_tells(tmp_path: Path, file: str, content: str, ec2: bool) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(content, encoding="latin-1")
    assert on_ec2(tmp_path) is ec2


def test_a_machine_without_firmware_files_is_none(tmp_path: Path) -> None:
    assert on_ec2(tmp_path) is False


def test_a_file_that_may_not_be_read_is_silent(tmp_path: Path) -> None:
    (tmp_path / DMI / "product_uuid").mkdir(parents=True)
    assert on_ec2(tmp_path) is False
