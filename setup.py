"""Puts the files that a captioner needs besides its code into the wheel; see pyproject.toml.

In a checkout they lie beside the packages. An installed captioner finds them in captioner/shipped
(captioner/paths.py), which no checkout has.
"""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build import build
from setuptools.command.egg_info import egg_info

SHIPPED = (
    "config.properties",
    "checkpoints/flickr8k/*",
    "deploy/log4j2.xml",
    "deploy/container/*",
    "deploy/nginx/captioner/*",
)


class BuildShipped(Command):
    """Copies those files into the built packages (setuptools.command.build.SubCommand)."""

    editable_mode = False
    build_lib: str | None

    def initialize_options(self) -> None:
        self.build_lib = None

    def finalize_options(self) -> None:
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        if self.editable_mode:  # the files of the checkout are used
            return
        for built, source in self.get_output_mapping().items():
            self.mkpath(str(Path(built).parent))
            self.copy_file(source, built)

    def get_source_files(self) -> list[str]:
        here = Path(__file__).parent
        found = [path for pattern in SHIPPED for path in sorted(here.glob(pattern))]
        return [path.relative_to(here).as_posix() for path in found]

    def get_output_mapping(self) -> dict[str, str]:
        assert self.build_lib
        shipped = Path(self.build_lib, "captioner", "shipped")
        return {str(shipped / source): source for source in self.get_source_files()}

    def get_outputs(self) -> list[str]:
        return list(self.get_output_mapping())


class Build(build):
    """Builds outside of the checkout: modules that are gone since would stay in its build/lib."""

    sub_commands = [*build.sub_commands, ("build_shipped", None)]  # noqa: RUF012

    def initialize_options(self) -> None:
        super().initialize_options()
        self.build_base = temporary_folder()


class EggInfo(egg_info):
    """Writes captioner.egg-info outside of the checkout, but for an sdist, which holds it."""

    def initialize_options(self) -> None:
        super().initialize_options()
        if "sdist" not in sys.argv:
            self.egg_base = temporary_folder()


def temporary_folder() -> str:
    """Return a new folder that is removed when this process ends."""
    folder = tempfile.mkdtemp(prefix="captioner-build-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


setup(cmdclass={"build": Build, "build_shipped": BuildShipped, "egg_info": EggInfo})
