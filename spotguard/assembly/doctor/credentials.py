"""Are there AWS credentials, and whose are they?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError

from spotguard.adapters.s3.credentials import AwsIdentity
from spotguard.assembly.doctor.patient import Patient, told
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.ports.object_store import StoreDenied

NAME = "credentials"
_SECONDS = 3
_WHY = "without credentials nothing can be saved and nothing restored"


async def examine(patient: Patient) -> Sequence[Finding]:
    try:
        await patient.access.identify()
    except StoreDenied as error:
        return [told(NAME, error, _WHY)]
    session = patient.access.identity.session()
    method = getattr(session.get_credentials(), "method", None) or "unknown"
    if patient.config.destination.endpoint_url:
        return [Finding(NAME, Verdict.OK, f"found ({method}); whose they are was not asked, as the endpoint is not AWS's")]
    return [await asyncio.to_thread(_ask, patient.access.identity, method, patient.config.destination.region)]


def _ask(identity: AwsIdentity, method: str, region: str | None) -> Finding:
    settings = ClientConfig(connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"total_max_attempts": 1})
    region = region or identity.session().get_config_variable("region") or "us-east-1"
    client = identity.client("sts", region_name=region, config=settings)
    try:
        answer = client.get_caller_identity()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        return Finding(
            NAME, Verdict.ERROR, f"refused by AWS ({method}): {code}", _WHY, "renew them: `aws sts get-caller-identity` must succeed"
        )
    except BotoCoreError as error:
        return Finding(NAME, Verdict.OK, f"found ({method}); STS could not be asked whose they are: {type(error).__name__}")
    finally:
        client.close()
    return Finding(NAME, Verdict.OK, f"{answer['Arn']} of account {answer['Account']} ({method})")
