"""The images of both targets, built once for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.images import Builder, running_builder


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    with running_builder(tmp_path_factory.mktemp("image")) as builder:
        yield builder


@pytest.fixture(scope="session")
def image(builder: Builder) -> str:
    """Return the name of the image with TorchServe."""
    return builder.build("captioner-test")


@pytest.fixture(scope="session")
def web_image(builder: Builder) -> str:
    """Return the name of the image with the web server."""
    return builder.build("captioner-web-test", "--target", "web")
