"""The whole template, as scripts/aws-deploy puts it together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.deploy.aws.deployment import load, render


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the whole template and its parameters."""
    return render(tmp_path_factory.mktemp("rendered"))


@pytest.fixture(scope="module")
def template(rendered: Path) -> dict[str, Any]:
    return load(rendered)
