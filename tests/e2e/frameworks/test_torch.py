"""The frameworks of the torch environment: what is asserted of each is in `committed_and_restored.py` and `torn_folders.py`."""

from __future__ import annotations

import pytest

from tests.e2e.frameworks.committed_and_restored import (  # noqa: F401
    test_nothing_is_committed_before_it_is_whole,
    test_the_framework_goes_on_from_what_is_restored,
)
from tests.e2e.frameworks.frameworks import in_environment
from tests.e2e.frameworks.torn_folders import test_a_torn_checkpoint_is_never_called_whole  # noqa: F401

FRAMEWORKS = in_environment("torch")

pytestmark = [pytest.mark.needs_frameworks, pytest.mark.slow, pytest.mark.timeout(480)]
