"""A single-node Ceph (monitor, memory-backed OSD, RADOS gateway) on loopback: a real production S3 server that checks signatures.

Its packages: `install.sh` beside this file. Needs no systemd, manager daemon or network. The settings are those that make it
start in about two seconds: cephx with a keyring (without authentication the gateway hangs for minutes), a fast paxos, one copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.servers import ACCESS_KEY, SECRET_KEY, Endpoint, ServerFailed, free_port, spawn, stop, wait_until_listening

_PROGRAMS = ("radosgw", "ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool", "radosgw-admin")
_CONF = """[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
log file = {folder}/$name.log
keyring = {folder}/keyring
paxos propose interval = 0.05
paxos min wait = 0.01
auth allow insecure global id reclaim = false
mon warn on pool no redundancy = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
mon data avail warn = 2
mon data avail crit = 1
osd objectstore = memstore
memstore device bytes = 4294967296
osd memory target = 939524096
osd heartbeat grace = 60
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw enable apis = s3, admin
rgw enable usage log = false
rgw run sync thread = false
rgw thread pool size = 64
rgw data = {folder}
[mon.a]
mon data = {folder}/mon
[osd.0]
osd data = {folder}/osd
"""


def missing() -> str | None:
    absent = [name for name in _PROGRAMS if not shutil.which(name)]
    if absent:
        return f"Ceph is not installed ({', '.join(absent)} not found): tests/support/servers/install.sh"
    return None if os.geteuid() == 0 else "Ceph's daemons want root here"


@contextmanager
def running(folder: Path) -> Iterator[Endpoint]:
    """`folder` should be short: the daemons make sockets in it, and a socket's path has at most 107 bytes."""
    with ExitStack() as daemons:
        yield _start(folder, daemons)


def _start(folder: Path, daemons: ExitStack) -> Endpoint:
    port = free_port()
    for name in ("mon", "osd", "run"):
        (folder / name).mkdir(parents=True)
    conf, fsid, mon_port = folder / "ceph.conf", str(uuid.uuid4()), free_port()
    conf.write_text(_CONF.format(fsid=fsid, folder=folder, port=port, mon_port=mon_port))
    keyring, monmap = folder / "keyring", folder / "monmap"

    def do(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=40, env=_environment(conf), check=False)
        if done.returncode:
            raise ServerFailed(f"{' '.join(command)}: {done.stderr[-1500:]}")
        return done.stdout

    def daemon(*command: str) -> tuple[subprocess.Popen[bytes], Path]:
        log = folder / f"{command[0]}.out"
        process = spawn([*command, "-c", str(conf), "-f"], log, _environment(conf))
        daemons.callback(stop, process, 2.0)
        return process, log

    do("ceph-authtool", "--create-keyring", str(keyring), "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    everything = ["--cap", "osd", "allow *", "--cap", "mgr", "allow *"]
    do("ceph-authtool", str(keyring), "--gen-key", "-n", "client.admin", "--cap", "mon", "allow *", *everything)
    do("ceph-authtool", str(keyring), "--gen-key", "-n", "osd.0", "--cap", "mon", "allow profile osd", *everything)
    do("monmaptool", "--create", "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", "--fsid", fsid, str(monmap))
    do("ceph-mon", "-c", str(conf), "-i", "a", "--mkfs", "--monmap", str(monmap), "--keyring", str(keyring))
    daemon("ceph-mon", "-i", "a")
    osd_uuid = str(uuid.uuid4())  # both must know it, or the monitor ignores the OSD without a word
    do("ceph", "-c", str(conf), "osd", "new", osd_uuid)
    do("ceph-osd", "-c", str(conf), "-i", "0", "--mkfs", "--osd-uuid", osd_uuid)
    daemon("ceph-osd", "-i", "0")
    give_up = time.monotonic() + 30
    while "1 up" not in do("ceph", "-c", str(conf), "osd", "stat"):
        if time.monotonic() > give_up:
            raise ServerFailed("the OSD did not come up in 30 s")
        time.sleep(0.1)
    gateway, log = daemon("radosgw", "-n", "client.admin")
    wait_until_listening(port, gateway, log, 60)
    user = ["user", "create", "--uid=test", "--display-name=test", f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}"]
    do("radosgw-admin", "-c", str(conf), "-n", "client.admin", *user)
    return Endpoint(f"http://127.0.0.1:{port}")


def _environment(conf: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "CEPH_CONF": str(conf), "CEPH_ARGS": "", "HOME": "/"}
