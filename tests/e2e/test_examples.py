"""The shipped examples as the tools of their trade read them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def checked(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_is_one() -> None:
    checked("check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(EXAMPLES / "containers/compose.yaml"))


@pytest.mark.parametrize("manifest", sorted(path.name for path in (EXAMPLES / "kubernetes").glob("*.yaml")))
def test_the_kubernetes_manifests_have_no_field_that_kubernetes_does_not_know(manifest: str) -> None:
    checked("kubernetes_validate", "--strict", "--quiet", str(EXAMPLES / "kubernetes" / manifest))


def test_the_task_definition_is_what_ecs_registers() -> None:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.validate import ParamValidator

    wanted: dict[str, Any] = json.loads((EXAMPLES / "ecs/task-definition.json").read_text())
    operation = ServiceModel(Loader().load_service_model("ecs", "service-2")).operation_model("RegisterTaskDefinition")
    assert ParamValidator().validate(wanted, operation.input_shape).generate_report() == ""
