"""``python -m benchmarks [NAME] [options]``: the same as ``captioner bench [NAME] [options]``."""

from __future__ import annotations

import sys

from captioner.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
