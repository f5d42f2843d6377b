"""Makes a bucket as `core.bucket_settings` wants it, and says what one lacks. What is there already is left as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from spotguard.core.bucket_settings import SETTINGS, BucketSetting, BucketWish, Document, as_json, dangers
from spotguard.ports.bucket_admin import BucketAdmin, SettingUnsupported
from spotguard.ports.object_store import StoreDenied, StoreError

_SHOWN_WITHIN = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds between one look and the next."""
_PLAIN_HTTP = "the endpoint is plain http: such a policy would lock everybody out"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done, or would be."""

    name: str
    outcome: str
    """`done`, `already`, `would`, `left-out` or `failed`."""
    what: str
    reason: str = ""
    error: StoreError | None = None


@dataclass(frozen=True, slots=True)
class Shortcoming:
    """Something that the bucket lacks (`error`), or that could not be told or could hurt (`warning`)."""

    name: str
    severity: str
    found: str
    why: str
    fix: str


Say = Callable[[Step], None]


class BucketSetup:
    def __init__(self, admin: BucketAdmin, wish: BucketWish, *, region_named: str, create_command: str) -> None:
        """For people: `region_named`, where a new bucket would be made; `create_command`, what mends most shortcomings."""
        self._admin = admin
        self._wish = wish
        self._region_named = region_named
        self._create_command = create_command

    async def create(self, say: Say, *, dry_run: bool) -> list[Step]:
        """Make the bucket if it is missing, and each setting that does not hold yet; says each step as it is taken.

        A setting that fails does not keep the others from being made. Raises BucketTaken, BucketMissing (in another region), and any
        other StoreError of making the bucket itself. Running it again is always sane: what holds is `already`."""
        steps: list[Step] = []

        def took(step: Step) -> None:
            steps.append(step)
            say(step)

        there = await self._admin.exists()
        making = f"make s3://{self._wish.bucket} in {self._region_named}"
        if not there and not dry_run:
            await self._admin.create()
        took(Step("bucket", "already" if there else "would" if dry_run else "done", making))
        self._wish = self._wish if there else replace(self._wish, scope="")
        for setting in SETTINGS:
            took(await self._settle(setting, missing=not there and dry_run, dry_run=dry_run))
        return steps

    async def check(self) -> list[Shortcoming]:
        """What is missing and what endangers a run, the worst first. Raises StoreError where the bucket itself cannot be used."""
        if not await self._admin.exists():
            return [Shortcoming("bucket", "error", "the bucket does not exist", "there is nowhere to save to", self._create_command)]
        found: list[Shortcoming] = []
        for setting in SETTINGS:
            found += await self._lacks(setting)
        return sorted(found, key=lambda lack: lack.severity != "error")

    async def _settle(self, setting: BucketSetting, *, missing: bool, dry_run: bool) -> Step:
        if setting.name == "tls-only" and not self._admin.secure:
            return Step(setting.name, "left-out", setting.step, _PLAIN_HTTP)
        try:
            wanted = setting.amend(None if missing else await self._admin.read(setting.name), self._wish)
            if wanted is None:
                return Step(setting.name, "already", setting.step)
            if dry_run:
                return Step(setting.name, "would", setting.step, as_json(wanted))
            await self._admin.write(setting.name, wanted)
            if not await self._holds(setting):
                return Step(setting.name, "left-out", setting.step, "the store took it and does not show it: look again in a minute")
        except SettingUnsupported as error:
            return Step(setting.name, "left-out", setting.step, str(error))
        except StoreDenied as error:
            needed = f"allow s3:Get{setting.permission} and s3:Put{setting.permission}: `spotguard bucket policy --for setup` has all"
            return Step(setting.name, "failed", setting.step, needed, error)
        except StoreError as error:
            return Step(setting.name, "failed", setting.step, error.fix, error)
        return Step(setting.name, "done", setting.step)

    async def _holds(self, setting: BucketSetting) -> bool:
        """Whether what was written can be read; S3 may take seconds to show a bucket's configuration."""
        for seconds in _SHOWN_WITHIN:
            await asyncio.sleep(seconds)
            if setting.amend(await self._admin.read(setting.name), self._wish) is None:
                return True
        return False

    async def _lacks(self, setting: BucketSetting) -> list[Shortcoming]:
        if setting.name == "tls-only" and not self._admin.secure:
            return [Shortcoming(setting.name, "warning", "requests go over plain http", setting.why, "use an https endpoint")]
        try:
            document = await self._admin.read(setting.name)
        except SettingUnsupported as error:
            return [Shortcoming(setting.name, "warning", str(error), setting.why, "use a store that has it, or do without")]
        except StoreDenied as error:
            fix = f"allow s3:Get{setting.permission}: `spotguard bucket policy --for setup` has all that is needed"
            return [Shortcoming(setting.name, "warning", f"could not be looked at: {error}", setting.why, fix)]
        lacks = []
        if setting.amend(document, self._wish) is not None:
            lacks.append(Shortcoming(setting.name, "error", f"not as it should be: {setting.step}", setting.why, self._create_command))
        return lacks + (self._dangers(document) if setting.name == "lifecycle" else [])

    def _dangers(self, lifecycle: Document | None) -> list[Shortcoming]:
        found = []
        for rule, harm, without in dangers(lifecycle, self._wish):
            change = f"put-bucket-lifecycle-configuration --bucket {self._wish.bucket} --lifecycle-configuration '{as_json(without)}'"
            if not without["Rules"]:
                change = f"delete-bucket-lifecycle --bucket {self._wish.bucket}"
            why = "let destination.keep_last, keep_every and keep_days decide what is deleted"
            found.append(Shortcoming("lifecycle", "error", f"the rule {rule} {harm}", why, f"aws s3api {change}"))
        return found
