"""The sections of the configuration. A field's description is its line in docs/configuration.md and config.example.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from spotguard.config.errors import KeysConflict
from spotguard.config.values import (
    AbsolutePath,
    Command,
    HttpUrl,
    Number,
    Patterns,
    Regex,
    S3Url,
    SignalName,
    Text,
    Whole,
    checked_token,
    split_s3_url,
)
from spotguard.core.layouts.names import LAYOUT_NAMES
from spotguard.core.listen_address import ListenAddress, parse_listen_address
from spotguard.core.recipes import RECIPES, TARGETS

ALWAYS_EXCLUDED = ("*.log", "wandb/**", "*.tmp")
DEFAULT_METADATA_ENDPOINT = "http://169.254.169.254"
_MIB = 1 << 20


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)
    """Built when one is first used: a `Config` then builds all at once, which takes half of the time."""


def _existing_layout(name: str) -> str:
    if name not in LAYOUT_NAMES:
        raise ValueError(f"is no layout; the layouts are {', '.join(LAYOUT_NAMES)}")
    return name


class Watch(Section):
    dir: AbsolutePath = Field(description="Watch root, made if missing. A relative path starts where the command is called.")
    layout: Annotated[Text, AfterValidator(_existing_layout)] = Field(
        default="auto",
        description="`auto` (picked per checkpoint) or one layout: " + ", ".join(f"`{name}`" for name in LAYOUT_NAMES[1:]) + ".",
    )
    exclude: Patterns = Field(
        default=ALWAYS_EXCLUDED,
        description="gitignore-style patterns, added to the defaults; inside checkpoints too. `!pattern` takes one back.",
    )
    settle_seconds: Number = Field(default=10, ge=0, description="How long a checkpoint without a marker must be quiet.")
    loose_seconds: Number = Field(
        default=60,
        ge=0,
        description="A loose file is sent at most this often, and again only if it grew by 10 % or an hour passed; "
        "always in a drain, after the checkpoints.",
    )
    rescan_seconds: Number = Field(
        default=30, gt=0, description="Full scan (and at least 500 times its own CPU time apart); also at start and at a notice."
    )
    follow_links: bool = Field(
        default=False, description="Whether links that lead out of the watch root are followed and stored as content."
    )

    @field_validator("exclude")
    @classmethod
    def _added_to_the_defaults(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*ALWAYS_EXCLUDED, *given)))


class Destination(Section):
    url: S3Url = Field(description="`s3://bucket/prefix`: one prefix is one run.")
    region: Text | None = Field(default=None, description="From boto3 when not given; else found by asking the bucket.")
    endpoint_url: HttpUrl | None = Field(default=None, description="Another S3 than AWS; means path style. From boto3 when not given.")
    storage_class: Text | None = Field(default=None, description="The bucket's when not given.")
    sse: Literal["AES256", "aws:kms"] | None = Field(default=None, description="`AES256` or `aws:kms`; the bucket's when not given.")
    kms_key_id: Text | None = Field(default=None, description="The key for `aws:kms`; the bucket's when not given.")
    keep_last: Whole | None = Field(
        default=None, ge=1, description="Retention per stage: keep the newest so many. All `keep_*` null: keep all."
    )
    keep_every: Whole | None = Field(default=None, ge=1, description="Retention per stage: also keep each step divisible by this.")
    keep_days: Number | None = Field(default=None, gt=0, description="Retention per stage: also keep what is younger than so many days.")

    @field_validator("storage_class")
    @classmethod
    def _readable_at_once(cls, given: str | None) -> str | None:
        if given in {"GLACIER", "DEEP_ARCHIVE"}:
            raise ValueError("takes hours to read back, so nothing could be resumed from it; use STANDARD or GLACIER_IR")
        return given

    @model_validator(mode="after")
    def _key_needs_kms(self) -> Destination:
        if self.kms_key_id is not None and self.sse != "aws:kms":
            raise KeysConflict(["destination.kms_key_id", "destination.sse"], "a key needs destination.sse: aws:kms")
        return self

    @property
    def bucket(self) -> str:
        return split_s3_url(self.url)[0]

    @property
    def prefix(self) -> str:
        """Without slashes at its ends; empty for the whole bucket."""
        return split_s3_url(self.url)[1]


class Upload(Section):
    part_size_mib: Whole = Field(
        default=16,
        ge=5,
        le=5120,
        description="Size of a part for files up to 16 GiB; then size/1000 up to 64 MiB, more only where 10,000 parts would not do. "
        "Parts in flight × part size is kept to 160 MiB.",
    )
    concurrency: Whole = Field(default=8, ge=1, le=64, description="Parts in flight.")
    max_megabits_per_second: Number | None = Field(
        default=None,
        gt=0,
        description="Cap on what all uploads together send, evenly (the kernel paces the connections); lifted while draining, also for "
        "what is under way.",
    )

    @property
    def part_size_bytes(self) -> int:
        return self.part_size_mib * _MIB

    @property
    def max_bytes_per_second(self) -> float | None:
        """The cap; None for none."""
        return None if self.max_megabits_per_second is None else self.max_megabits_per_second * 1e6 / 8


class Imds(Section):
    endpoint: HttpUrl = Field(
        default=DEFAULT_METADATA_ENDPOINT,
        description="The instance metadata service. `AWS_EC2_METADATA_SERVICE_ENDPOINT` is its default where that is set.",
    )
    poll_seconds: Number = Field(default=5, gt=0, le=60, description="How often notices are asked for.")
    mode: Literal["auto", "required", "off"] = Field(
        default="auto",
        description="`auto`: `required` on EC2 (DMI says so), else `off` with one line; an `endpoint` that is set means `required`, "
        "`AWS_EC2_METADATA_DISABLED=true` means `off`.",
    )

    @property
    def endpoint_is_set(self) -> bool:
        """Whether somebody named the endpoint, so that `auto` means `required`."""
        return "endpoint" in self.model_fields_set

    @property
    def stated_mode(self) -> Literal["auto", "required", "off"]:
        """The mode, `auto` only where the machine itself (DMI) must decide."""
        return "required" if self.mode == "auto" and self.endpoint_is_set else self.mode


def _known_recipe(name: str) -> str:
    if name not in RECIPES:
        raise ValueError(f"is no recipe; the recipes are {', '.join(RECIPES)}")
    return name


class Trainer(Section):
    pid_file: AbsolutePath | None = Field(
        default=None, description="Whom to signal: the process of this pid file. At most one target is given."
    )
    process: Regex | None = Field(default=None, description="Whom to signal: processes whose command line this regular expression matches.")
    systemd_unit: Text | None = Field(default=None, description="Whom to signal: the main PID of this unit.")
    docker_container: Text | None = Field(
        default=None, description="Whom to signal: who trains in this container, asked of the engine at `DOCKER_HOST` or its usual socket."
    )
    signal: SignalName | None = Field(default=None, description="Sent at a notice (`SIGTERM`, `USR1`, …). None: nobody is signalled.")
    signal_when: Literal["fits", "always"] = Field(
        default="fits",
        description="`always`: a save that cannot fit any more before the deadline is still asked for. Unmeasured counts as fits.",
    )
    checkpoint_signal: SignalName | None = Field(
        default=None, description="One after which the trainer saves and goes on (for a rebalance)."
    )
    notice_file: AbsolutePath | None = Field(default=None, description="Created with the notice as JSON, removed when it is withdrawn.")
    recipe: Annotated[Text, AfterValidator(_known_recipe)] | None = Field(
        default=None,
        description="Sets the signal for a framework, and for a launcher the target: "
        + ", ".join(f"`{name}`" for name in RECIPES)
        + " (see trainers.md). Keys that are given win.",
    )

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the target keys that are given; one at most."""
        return tuple(name for name in TARGETS if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _one_target(self) -> Trainer:
        keys = [f"trainer.{name}" for name in self.targets]
        if len(keys) > 1:
            raise KeysConflict(keys, "there is one target at most; keep one of them")
        return self


class Hooks(Section):
    on_notice: Command | None = Field(
        default=None, description="Command run when a notice is seen. The event is JSON on its standard input."
    )
    on_safe: Command | None = Field(default=None, description="Command run once when it is safe to die: the trainer gone, or the deadline.")
    on_unsafe: Command | None = Field(default=None, description="Command run when the deadline passed and something is not saved.")
    on_commit: Command | None = Field(default=None, description="Command run after each commit.")
    on_problem: Command | None = Field(default=None, description="Command run when a problem appears.")
    on_finished: Command | None = Field(default=None, description="Command run when the training has finished and all is committed.")


class Interruption(Section):
    margin_seconds: Number = Field(default=5, ge=0, lt=120, description="Deadline = notice time - margin.")
    on_rebalance: Literal["ignore", "checkpoint", "drain"] = Field(
        default="checkpoint", description="`ignore`, `checkpoint` (ask for one more, go on) or `drain`."
    )
    scale_in_seconds: Number = Field(default=120, gt=0, description="Time from a scale-in to the deadline; it carries none itself.")
    shutdown_grace_seconds: Number = Field(default=90, ge=0, description="How long SIGTERM may flush.")


class Node(Section):
    rank: Whole = Field(
        default=0,
        ge=0,
        description="Default from `GROUP_RANK`, `NODE_RANK`, `SLURM_NODEID`. A rank above 0 restores and signals its trainer "
        "but never claims or writes.",
    )
    count: Whole = Field(default=1, ge=1, description="Default from `GROUP_WORLD_SIZE`, `NNODES`, `SLURM_NNODES`.")

    @model_validator(mode="after")
    def _rank_within_count(self) -> Node:
        if "count" in self.model_fields_set and self.rank >= self.count:
            raise KeysConflict(["node.rank", "node.count"], "ranks go from 0 to the count less one")
        return self


class Http(Section):
    listen: Text | None = Field(
        default="127.0.0.1:9477", description="`HOST:PORT`, `unix:/path`, or null for none; a port that is taken is a problem, not the end."
    )
    token: SecretStr | None = Field(
        default=None,
        description="Needed for a non-loopback address; then every call but `/healthz` and `/readyz` needs `Authorization: Bearer`.",
    )

    @field_validator("token", mode="before")
    @classmethod
    def _token_fits_a_header(cls, given: Any) -> Any:
        return given if given is None or isinstance(given, SecretStr) else checked_token(given)

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, given: str | None) -> str | None:
        return None if given is None else str(parse_listen_address(given))

    @model_validator(mode="after")
    def _token_beyond_loopback(self) -> Http:
        address = self.address
        if address is not None and not address.is_local and self.token is None:
            raise KeysConflict(["http.listen", "http.token"], "others can reach this address; set http.token or listen on 127.0.0.1")
        return self

    @property
    def address(self) -> ListenAddress | None:
        return None if self.listen is None else parse_listen_address(self.listen)

    @property
    def token_text(self) -> str | None:
        """The token itself, for who must send or compare it; never print it."""
        return None if self.token is None else self.token.get_secret_value()


class Log(Section):
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lambda v: v.lower() if isinstance(v, str) else v)] = (
        Field(default="info", description="`debug`, `info`, `warning` or `error`.")
    )
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="`auto`: console on a terminal, else JSON lines on standard error; or `console`, `json`."
    )
