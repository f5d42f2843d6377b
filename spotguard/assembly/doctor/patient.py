"""What the checks look at: the configuration, one connection to the store, and what several of them want to know, asked for once."""

from __future__ import annotations

import asyncio
import os
import shlex
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from botocore.exceptions import ClientError

from spotguard.adapters.disk.volume import LocalVolume
from spotguard.adapters.http.daemon_client import connect_daemon
from spotguard.adapters.processes.trainers import trainer_for
from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.store import S3ObjectStore
from spotguard.adapters.s3.transfer import HttpPartTransfer
from spotguard.assembly.settings import run_keys, s3_settings
from spotguard.config.models import Config
from spotguard.core.checkpoint import Inventory
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.core.layouts.identify import identify
from spotguard.core.manifest import Manifest, ManifestError
from spotguard.core.run_keys import RunKeys
from spotguard.core.status import Status
from spotguard.ports.checkpoint_volume import CannotRead
from spotguard.ports.daemon_control import Health, NoDaemon
from spotguard.ports.object_store import ObjectStore, StoreDenied, StoreError
from spotguard.ports.part_transfer import PartTransfer
from spotguard.ports.trainer import TrainerProcess
from spotguard.services.restore.catalogue import Catalogue

T = TypeVar("T")

_DAEMON_SECONDS = 5.0
SEE_BUCKET = "not tried: see the check `bucket`"


class Once(Generic[T]):
    """The answer of one question, asked when it is first wanted."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._task: asyncio.Future[T] | None = None

    async def __call__(self) -> T:
        if self._task is None:
            self._task = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._task)


@dataclass
class Patient:
    """Not frozen: it remembers answers."""

    config: Config
    access: S3Access
    store: ObjectStore
    transfer: PartTransfer
    keys: RunKeys
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def __post_init__(self) -> None:
        self.store_trouble = Once(self._store_trouble)
        self.inventory = Once(self._inventory)
        self.newest_commit = Once(self._newest_commit)
        self.trainer_processes = Once(self._trainer_processes)
        self.daemon = Once(self._ask_daemon)

    @property
    def own_key(self) -> str:
        """A key for one small object that is deleted again."""
        return f"{self.keys.own}doctor/{uuid.uuid4().hex}"

    @property
    def options(self) -> str:
        """The options that name this run on a command line."""
        destination = self.config.destination
        named = {"region": destination.region, "endpoint_url": destination.endpoint_url, "kms_key_id": destination.kms_key_id}
        told = "".join(f" --set destination.{name}={shlex.quote(value)}" for name, value in named.items() if value)
        return f"--url {shlex.quote(destination.url)}{told}"

    def policy_fix(self) -> str:
        return (
            "aws iam put-role-policy --role-name ROLE --policy-name spotguard --policy-document"
            f' "$(spotguard bucket policy {self.options})"'
        )

    async def newest_bytes(self) -> int | None:
        """The size of the newest checkpoint, on disk or in the bucket; None when there is none to be seen."""
        inventory = await self.inventory()
        local = max(inventory.checkpoints.values(), key=lambda c: c.saved_ns, default=None) if inventory else None
        if local is not None:
            return local.total_bytes
        manifest = await self.newest_commit()
        return None if manifest is None else manifest.total_bytes

    async def _store_trouble(self) -> StoreError | None:
        """Why nothing can be asked of the bucket at all; a plain denial is none, the permissions tell of it one by one."""
        try:
            await self.access.identify()
            await self.store.list(self.keys.root, limit=1)
        except StoreDenied as error:
            cause = error.__cause__
            code = cause.response.get("Error", {}).get("Code") if isinstance(cause, ClientError) else None
            return None if code in ("AccessDenied", "403", "Forbidden") else error
        except StoreError as error:
            return error
        return None

    async def _inventory(self) -> Inventory | None:
        """What lies in the watched folder; None where there is none, or it cannot be looked at."""
        watch = self.config.watch
        if not watch.dir.is_dir():
            return None
        try:
            tree = await LocalVolume(watch.dir, exclude=watch.exclude, follow_links=watch.follow_links).scan()
        except CannotRead:
            return None
        return await asyncio.to_thread(identify, tree, watch.layout)

    async def _newest_commit(self) -> Manifest | None:
        if await self.store_trouble() is not None:
            return None
        catalogue = Catalogue(self.store, self.keys)
        try:
            for key in (await catalogue.list_manifests())[:1]:
                return await catalogue.read_manifest(key)
        except (StoreError, ManifestError):
            return None
        return None

    async def _ask_daemon(self) -> tuple[Health, Status]:
        """Raises NoDaemon, DaemonRefused, TimeoutError."""
        http = self.config.http
        if http.listen is None:
            raise NoDaemon("http.listen is null: no daemon can be asked")
        async with connect_daemon(http.listen, http.token_text) as client, asyncio.timeout(_DAEMON_SECONDS):
            return await client.health(), await client.status()

    async def _trainer_processes(self) -> Sequence[TrainerProcess]:
        return await trainer_for(self.config.trainer).find()


def told(check: str, error: StoreError, why: str, fix: str = "") -> Finding:
    """A store's failure as a finding."""
    return Finding(check, Verdict.ERROR, str(error), why, fix or error.fix)


@asynccontextmanager
async def patient_of(config: Config, **more: Any) -> AsyncIterator[Patient]:
    """Nothing is asked yet. On leaving, connections are closed; requests under way must have ended."""
    access = S3Access(s3_settings(config))
    transfer = HttpPartTransfer(access)
    try:
        yield Patient(config, access, S3ObjectStore(access), transfer, run_keys(config), **more)
    finally:
        await transfer.close()
        await asyncio.to_thread(access.close)
