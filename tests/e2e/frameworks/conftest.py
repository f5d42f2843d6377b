"""Where the frameworks are: two environments of their own, which `.ci/run` makes below SPOTGUARD_CI_ENV."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spotguard.demo.embedded_s3 import EmbeddedS3
from tests.e2e.frameworks.frameworks import Framework
from tests.e2e.frameworks.story import BUCKET, Story, tell_story

_NAMED_BY = {"torch": "SPOTGUARD_HF_PYTHON", "jax": "SPOTGUARD_JAX_PYTHON"}


pytest.register_assert_rewrite("tests.e2e.frameworks.committed_and_restored", "tests.e2e.frameworks.torn_folders")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test runs for each of its file's frameworks."""
    if "framework" in metafunc.fixturenames:
        metafunc.parametrize("framework", metafunc.module.FRAMEWORKS, ids=lambda framework: framework.name)


@pytest.fixture(scope="session")
def python_of() -> Callable[[Framework], Path]:
    def find(framework: Framework) -> Path:
        variable = _NAMED_BY[framework.environment]
        path = os.environ.get(variable, "")
        if not path or not Path(path).exists():
            pytest.skip(f"{framework.name} is missing: {variable} must name the Python of the {framework.environment} environment")
        return Path(path)

    return find


@pytest.fixture(scope="session")
def bucket() -> Iterator[EmbeddedS3]:
    with EmbeddedS3(BUCKET) as server:
        yield server


@pytest.fixture(scope="session")
def story_of(
    python_of: Callable[[Framework], Path], bucket: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Framework], Story]:
    """Each framework trains once, for all tests."""
    told: dict[str, Story] = {}

    def tell(framework: Framework) -> Story:
        if framework.name not in told:
            folder = tmp_path_factory.mktemp(framework.name)
            told[framework.name] = tell_story(framework, python_of(framework), bucket, folder)
        return told[framework.name]

    return tell
