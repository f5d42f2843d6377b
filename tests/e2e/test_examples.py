"""The shipped examples as the tools of their trade read them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from spotguard.config.sources import load_config

EXAMPLES = Path(__file__).parents[2] / "examples"


def checked(module: str, *arguments: str) -> None:
    run_tool(sys.executable, "-m", module, *arguments)


def run_tool(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_is_one() -> None:
    checked("check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(EXAMPLES / "containers/compose.yaml"))


@pytest.mark.parametrize("manifest", sorted(path.name for path in (EXAMPLES / "kubernetes").glob("*.yaml")))
def test_the_kubernetes_manifests_have_no_field_that_kubernetes_does_not_know(manifest: str) -> None:
    checked("kubernetes_validate", "--strict", "--quiet", str(EXAMPLES / "kubernetes" / manifest))


@pytest.mark.parametrize(
    ("service", "operation", "request_file"),
    [
        ("ecs", "RegisterTaskDefinition", "ecs/task-definition.json"),
        ("fis", "CreateExperimentTemplate", "asg/fis-interruption.json"),
    ],
)
def test_a_request_has_the_shape_that_the_service_takes(service: str, operation: str, request_file: str) -> None:
    wanted: dict[str, Any] = json.loads((EXAMPLES / request_file).read_text())
    shape = ServiceModel(Loader().load_service_model(service, "service-2")).operation_model(operation).input_shape
    assert ParamValidator().validate(wanted, shape).generate_report() == ""


def test_the_group_is_what_cloudformation_deploys() -> None:
    run_tool(str(Path(sys.executable).with_name("cfn-lint")), str(EXAMPLES / "asg/training.yaml"))


def user_data() -> str:
    """The script of the launch template, with something in place of each parameter."""
    lines = (EXAMPLES / "asg/training.yaml").read_text().split("Fn::Base64: !Sub |\n")[1].split("\n  Group:")[0]
    return re.sub(r"[$][{][A-Za-z:]+[}]", "value", textwrap.dedent(lines))


def test_the_group_machine_gets_a_configuration_that_loads(tmp_path: Path) -> None:
    written = user_data().split("<<'YAML'\n")[1].split("\nYAML\n")[0]
    written = written.replace("trainer: {signal:", "trainer: {process: train, signal:").replace('"value"', "SIGTERM")
    (tmp_path / "c.yaml").write_text(written.replace("s3://value/value", "s3://bucket/run1"))
    load_config(str(tmp_path / "c.yaml"), (), {}, tmp_path)


def scripts() -> dict[str, str]:
    sky = yaml.safe_load((EXAMPLES / "skypilot/training.yaml").read_text())
    return {
        "user data": user_data(),
        "hooks": "".join(part.split("\nHOOK\n")[0] for part in user_data().split("<<'HOOK'\n")[1:]),
        "skypilot setup": sky["setup"],
        "skypilot run": sky["run"],
        "slurm": (EXAMPLES / "slurm/training.sbatch").read_text(),
    }


@pytest.mark.parametrize("name", sorted(scripts()))
def test_the_scripts_are_scripts(name: str) -> None:
    done = subprocess.run(["bash", "-n"], input=scripts()[name], text=True, capture_output=True, timeout=10, check=False)
    assert (done.returncode, done.stderr) == (0, "")
