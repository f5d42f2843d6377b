from __future__ import annotations

import os

import pytest

from spotguard.adapters.disk.filesystem_type import filesystem_type, is_remote, type_in_mountinfo
from spotguard.adapters.disk.readability import Readability

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:40 / /mnt/efs rw shared:1 - nfs4 127.0.0.1:/ rw,vers=4.1
31 27 0:41 / /mnt/my\\040disk rw - fuse.s3fs s3fs rw
32 27 0:42 / /mnt/efs/over rw - xfs /dev/nvme1n1 rw
33 27 0:43 / /mnt/twice rw - ext4 /dev/a rw
34 27 0:44 / /mnt/twice rw - tmpfs tmpfs rw
garbage
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/home/x", "ext4"),
        ("/mnt/efs", "nfs4"),
        ("/mnt/efs/run/a", "nfs4"),
        ("/mnt/efsx", "ext4"),
        ("/mnt/my disk/a", "fuse.s3fs"),
        ("/mnt/efs/over/b", "xfs"),
        ("/mnt/twice", "tmpfs"),
    ],
)
def test_the_nearest_and_newest_mount_tells(path: str, kind: str) -> None:
    assert type_in_mountinfo(MOUNTS, path) == kind


@pytest.mark.parametrize(
    ("kind", "remote"),
    [("nfs", True), ("cifs", True), ("fuse.sshfs", True), ("fuse", True), ("ext4", False), ("fuseblk", False), ("", False)],
)
def test_what_is_remote(kind: str, remote: bool) -> None:
    assert is_remote(kind) == remote


def test_this_machine_has_a_type_for_what_is_not_there_yet(tmp_path: object) -> None:
    assert filesystem_type(f"{tmp_path}/not/yet")


def test_permission_bits_are_read_as_the_kernel_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1000)
    monkeypatch.setattr(os, "getgroups", lambda: [1000, 50])
    asked: list[str] = []

    def denied(path: str, *_: object, **__: object) -> bool:
        asked.append(path)
        return False

    monkeypatch.setattr(os, "access", denied)
    readability = Readability()

    def refusal(mode: int, uid: int, gid: int) -> str | None:
        return readability.refusal("f", os.stat_result((0o100000 | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0)))

    allowed = [(0o600, 1000, 0), (0o640, 0, 50), (0o604, 0, 0)]
    assert [refusal(*each) for each in allowed] == [None] * 3
    assert asked == []
    for each in [(0o066, 1000, 50), (0o604, 0, 50), (0o660, 0, 0)]:
        assert "permission denied" in (refusal(*each) or "")
    monkeypatch.setattr(os, "access", lambda *_, **__: True)
    assert refusal(0o600, 0, 0) is None  # an ACL or a capability says yes
