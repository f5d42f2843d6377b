from __future__ import annotations

import json

import pytest

from spotguard.core.bucket_settings import SETTINGS, BucketWish, as_json, dangers

WISH = BucketWish("b", "runs/a", scope="runs/a/")
AMEND = {setting.name: setting.amend for setting in SETTINGS}


@pytest.mark.parametrize("name", AMEND)
@pytest.mark.parametrize("wish", [WISH, BucketWish("b", "", ""), BucketWish("b", "r", "", "aws:kms", "alias/k", 3)])
def test_what_was_written_is_what_was_wished(name: str, wish: BucketWish) -> None:
    written = AMEND[name](None, wish)
    assert written is not None
    assert AMEND[name](json.loads(json.dumps(written)), wish) is None


def test_other_peoples_rules_and_statements_are_kept() -> None:
    theirs = {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 3}}
    amended = AMEND["lifecycle"]({"Rules": [theirs]}, WISH)
    assert amended is not None
    assert amended["Rules"][0] == theirs
    assert {rule["Filter"]["Prefix"] for rule in amended["Rules"][1:]} == {"runs/a/"}
    statement = {"Sid": "x", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "y"}
    policy = AMEND["tls-only"]({"Version": "2012-10-17", "Id": "theirs", "Statement": [statement]}, WISH)
    assert policy is not None
    assert policy["Statement"][0] == statement
    assert policy["Id"] == "theirs"


def test_rules_of_others_that_do_the_same_are_enough() -> None:
    rule = {
        "ID": "x",
        "Status": "Enabled",
        "Prefix": "runs/",
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 90},
    }
    assert AMEND["lifecycle"]({"Rules": [rule]}, WISH) is None
    for useless in ({"Status": "Disabled"}, {"Prefix": "other/"}, {"Filter": {"Tag": {"Key": "a", "Value": "b"}}, "Prefix": ""}):
        assert AMEND["lifecycle"]({"Rules": [rule | useless]}, WISH) is not None


def test_noncurrent_days_that_are_asked_for_replace_our_own_rule_only() -> None:
    first = AMEND["lifecycle"](None, WISH)
    second = AMEND["lifecycle"](first, BucketWish("b", "runs/a", "runs/a/", noncurrent_days=30))
    assert first is not None
    assert second is not None
    assert len(second["Rules"]) == len(first["Rules"]) == 2
    assert second["Rules"][1]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}


def test_no_rule_of_ours_expires_current_objects() -> None:
    written = AMEND["lifecycle"](None, WISH)
    assert dangers(written, WISH) == []


@pytest.mark.parametrize(
    "rule",
    [
        {"ID": "x", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}},
        {"ID": "x", "Prefix": "runs/", "Expiration": {"Date": "2027-01-01"}},
        {"ID": "x", "Filter": {"Prefix": "runs/a/sft/"}, "Expiration": {"Days": 1}},
        {"ID": "x", "Filter": {"And": {"Prefix": "runs/a", "Tags": []}}, "Expiration": {"Days": 1}},
        {"ID": "x", "Filter": {}, "Transitions": [{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}]},
    ],
)
def test_rules_that_take_checkpoints_away_are_named(rule: dict[str, object]) -> None:
    other = {"ID": "y", "Status": "Enabled", "Filter": {"Prefix": "elsewhere/"}, "Expiration": {"Days": 1}}
    [(name, harm, without)] = dangers({"Rules": [rule | {"Status": "Enabled"}, other]}, WISH)
    assert name == "x"
    assert "under the run" in harm
    assert without == {"Rules": [other]}
    assert dangers({"Rules": [rule | {"Status": "Disabled"}]}, WISH) == []


def test_a_kms_bucket_without_bucket_key_gets_one_and_keeps_its_key() -> None:
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k"}}
    amended = AMEND["encryption"]({"Rules": [default | {"BucketKeyEnabled": False}]}, WISH)
    assert amended == {"Rules": [default | {"BucketKeyEnabled": True}]}


def test_an_id_and_the_arn_of_the_same_key_are_equal() -> None:
    arn = "arn:aws:kms:us-east-1:123456789012:key/1234"
    written = AMEND["encryption"](None, BucketWish("b", "", "", kms_key_id=arn))
    assert AMEND["encryption"](written, BucketWish("b", "", "", kms_key_id="1234")) is None
    assert AMEND["encryption"](written, BucketWish("b", "", "", kms_key_id="5678")) is not None


def test_documents_on_a_command_line_hold_no_quote() -> None:
    assert "'" not in as_json({"ID": "it's"})
    assert json.loads(as_json({"ID": "it's"})) == {"ID": "it's"}
