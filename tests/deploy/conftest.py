"""The images of both targets, each built once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.images import TORCHSERVE, WEB, Builder, running_builder


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    with running_builder(tmp_path_factory.mktemp("image")) as builder:
        yield builder


@pytest.fixture(scope="module")  # the next image needs the room on the disk
def image(builder: Builder) -> Iterator[str]:
    """Return the name of the image with TorchServe."""
    with builder.image(TORCHSERVE) as name:
        yield name


@pytest.fixture(scope="module")
def web_image(builder: Builder) -> Iterator[str]:
    """Return the name of the image with the web server."""
    with builder.image(WEB, "--target", "web") as name:
        yield name


@pytest.fixture(scope="session")
def other_sizes(builder: Builder) -> dict[str, int]:
    """Return the bytes of the image with TorchServe."""
    if TORCHSERVE not in builder.sizes:
        with builder.image(TORCHSERVE):
            pass
    return builder.sizes[TORCHSERVE]
