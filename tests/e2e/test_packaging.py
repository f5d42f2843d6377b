"""The package as users install it: beside the trainer, by uv and pipx, on every Python that is here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import spotguard

REPOSITORY = Path(__file__).parents[2]
TOOLS = Path(os.environ.get("SPOTGUARD_CI_ENV", REPOSITORY / ".ci-env")).resolve() / "packaging/bin"
PYTHONS = [python for python in os.environ.get("SPOTGUARD_PYTHONS", sys.executable).split(os.pathsep) if python]

pytestmark = [
    pytest.mark.needs_packaging,
    pytest.mark.skipif(not (TOOLS / "uv").exists(), reason=f"{TOOLS} has no uv, pipx and build (.ci/run installs them)"),
]

_EVERY_MODULE = """
import importlib, pkgutil, sys, spotguard
assert "site-packages" in spotguard.__file__
names = [found.name for found in pkgutil.walk_packages(spotguard.__path__, "spotguard.") if not found.name.endswith("__main__")]
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:  # a callback needs the framework that it is for
        assert name.startswith("spotguard.training.") and error.name in {"transformers", "lightning", "pytorch_lightning"}, (name, error)
print(len(names))
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel and an sdist, the wheel built from the sdist."""
    out = tmp_path_factory.mktemp("dist")
    run(str(TOOLS / "python"), "-m", "build", "-o", str(out), str(REPOSITORY))
    return out


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(command, cwd="/", env={**os.environ, **environment}, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def wheel_in(dist: Path) -> str:
    (wheel,) = dist.glob("*.whl")
    return str(wheel)


def test_the_wheel_has_the_program_the_types_and_the_licence_and_nothing_else(dist: Path) -> None:
    names = run(sys.executable, "-m", "zipfile", "-l", wheel_in(dist)).split()
    tops = {name.split("/")[0] for name in names if "/" in name}
    assert tops == {"spotguard", f"spotguard-{spotguard.__version__}.dist-info"}
    assert "spotguard/adapters/http/page/index.html" in names
    assert {"spotguard/py.typed", f"spotguard-{spotguard.__version__}.dist-info/licenses/LICENSE"} <= set(names)


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: run(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"))
def test_uv_installs_it_as_a_tool(dist: Path, tmp_path: Path, python: str) -> None:
    places = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    run(str(TOOLS / "uv"), "tool", "install", "-q", "--python", python, f"{wheel_in(dist)}[demo]", **places)
    assert run(str(tmp_path / "bin/spotguard"), "--version") == f"spotguard {spotguard.__version__}"
    assert int(run(str(tmp_path / "tools/spotguard/bin/python"), "-W", "error", "-c", _EVERY_MODULE)) > 200


def test_pipx_installs_it(dist: Path, tmp_path: Path) -> None:
    places = {"PIPX_HOME": str(tmp_path / "home"), "PIPX_BIN_DIR": str(tmp_path / "bin"), "PIPX_MAN_DIR": str(tmp_path / "man")}
    run(str(TOOLS / "pipx"), "install", wheel_in(dist), **places)
    assert run(str(tmp_path / "bin/spotguard"), "--version") == f"spotguard {spotguard.__version__}"


def test_the_training_module_works_where_no_dependency_is_installed(dist: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "trainer"))
    (site,) = (tmp_path / "trainer/lib").glob("python3*/site-packages")
    shutil.unpack_archive(wheel_in(dist), site, "zip")
    script = "import sys; from spotguard.training import get_latest_checkpoint; print(get_latest_checkpoint(sys.argv[1]))"
    assert run(str(tmp_path / "trainer/bin/python"), "-I", "-c", script, str(tmp_path / "nothing")) == "None"
