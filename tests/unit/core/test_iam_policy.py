from __future__ import annotations

import pytest

from spotguard.core.iam_policy import Purpose, partition_of, policy_for
from spotguard.core.run_keys import RunKeys
from tests.support.servers.authority import Need, allowed_by

KEYS = RunKeys("b", "team/run1")


def test_a_policy_reaches_nothing_outside_of_its_run() -> None:
    for purpose in (Purpose.DAEMON, Purpose.RESTORE):
        allows = allowed_by(policy_for(purpose, KEYS))
        assert allows(Need("s3:GetObject", "b", "team/run1/checkpoint-1/model.safetensors"))
        assert allows(Need("s3:ListBucket", "b", prefix="team/run1/"))
        assert not allows(Need("s3:GetObject", "b", "team/run10/x"))
        assert not allows(Need("s3:GetObject", "other", "team/run1/x"))
        for prefix in (None, "", "team/", "team/run10/", "team/run1"):
            assert not allows(Need("s3:ListBucket", "b", prefix=prefix)), prefix


def test_restore_may_only_read() -> None:
    actions = {action for statement in policy_for(Purpose.RESTORE, KEYS, kms_key_id="k")["Statement"] for action in statement["Action"]}
    assert actions == {"s3:ListBucket", "s3:GetObject", "kms:Decrypt"}


def test_the_whole_bucket_as_a_run_needs_no_condition() -> None:
    allows = allowed_by(policy_for(Purpose.DAEMON, RunKeys("b", "")))
    assert allows(Need("s3:ListBucket", "b", prefix=""))
    assert allows(Need("s3:PutObject", "b", "checkpoint-1/x"))


@pytest.mark.parametrize(
    ("key", "resource"),
    [
        ("arn:aws:kms:us-east-1:1:key/k", "arn:aws:kms:us-east-1:1:key/k"),
        ("k", "arn:aws:kms:*:*:key/k"),
        ("alias/k", "arn:aws:kms:*:*:key/*"),
        ("arn:aws:kms:us-east-1:1:alias/k", "arn:aws:kms:*:*:key/*"),
    ],
)
def test_a_key_is_named_as_iam_can(key: str, resource: str) -> None:
    statement = policy_for(Purpose.DAEMON, KEYS, kms_key_id=key)["Statement"][-1]
    assert statement["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert statement["Resource"] == resource
    assert ("alias" in key) == ("Condition" in statement)


def test_partitions() -> None:
    assert [partition_of(region) for region in (None, "eu-west-1", "cn-north-1", "us-gov-west-1")] == ["aws", "aws", "aws-cn", "aws-us-gov"]
    assert policy_for(Purpose.SETUP, KEYS, partition="aws-cn")["Statement"][0]["Resource"] == "arn:aws-cn:s3:::b"
