"""Arguments that several commands share, and what is made of their values."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioner.paths import MODEL_STORE, SHIPPED
from model.decoding_options import DecodingOptions, Option, options_of

if TYPE_CHECKING:
    from captioner.operations.keys import Keys
    from captioner.operations.target import ServerTarget
    from model import Captioner

HERE = "http://127.0.0.1"


def add_checkpoint_argument(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FOLDER",
        default=SHIPPED,
        help="checkpoint folder (default: the shipped one)",
    )


def add_overwrite_argument(parser: argparse._ActionsContainer, what: str) -> None:
    parser.add_argument("--overwrite", action="store_true", help=f"replace {what}")


def add_model_store_argument(parser: argparse._ActionsContainer, what: str) -> None:
    parser.add_argument(
        "--model-store",
        type=Path,
        metavar="FOLDER",
        default=MODEL_STORE,
        help=f"{what} (default: CAPTIONER_MODEL_STORE, else model_store in a checkout, else"
        " ~/.local/share/captioner/model_store)",
    )


def add_key_file_argument(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="key_file.json of a server that asks for tokens, such as .serve/key_file.json",
    )


def read_keys(arguments: argparse.Namespace) -> Keys | None:
    """Return the keys in the file that ``--key-file`` names, or None without one."""
    from captioner.operations.keys import Keys

    return Keys.read(arguments.key_file) if arguments.key_file else None


def add_server_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add a group with the addresses of a server and its key file, and return it."""
    group = parser.add_argument_group("the server")
    group.add_argument(
        "--url",
        default=f"{HERE}:8080",
        help="address of its predictions (default: %(default)s)",
    )
    group.add_argument(
        "--management",
        metavar="URL",
        default=f"{HERE}:8081",
        help="address of TorchServe's management API (default: %(default)s)",
    )
    add_key_file_argument(group)
    return group


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a server and the model store from which it loads versions; see `server_target`."""
    group = add_server_arguments(parser)
    add_model_store_argument(group, "folder from which the server loads archives")


def server_target(arguments: argparse.Namespace) -> ServerTarget:
    """Return the server and the model store that the arguments name."""
    from captioner.operations.target import ServerTarget

    return ServerTarget(
        arguments.url, arguments.management, arguments.model_store, read_keys(arguments)
    )


def add_decoding_arguments(parser: argparse.ArgumentParser, *omitted: str) -> None:
    """Add an argument for each field of `DecodingOptions` but the omitted ones."""
    group = parser.add_argument_group("the search for a caption")
    for name, option in options_of(DecodingOptions).items():
        if name not in omitted:
            _add_option(group, option)


def _add_option(group: argparse._ArgumentGroup, option: Option) -> None:
    flag = _flag(option.name)
    if option.type is bool:
        action = group.add_argument(
            flag, action=argparse.BooleanOptionalAction, default=option.default
        )
        # Set afterwards: some versions of Python add the default to this action's help, as True.
        action.help = f"{option.help} (default: {'on' if option.default else 'off'})"
        return
    allowed = f"in {option.minimum}..{option.maximum}"
    if option.at_most:
        allowed += f", at most {_flag(option.at_most)}"
    group.add_argument(
        flag,
        type=option.type,
        metavar="N" if option.type is int else "X",
        default=option.default,
        help=f"{option.help}; {allowed} (default: %(default)s)",
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def decoding_values(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the values of the decoding arguments by the names of their fields, unchecked."""
    given = vars(arguments)
    return {name: given[name] for name in options_of(DecodingOptions) if name in given}


def decoding_options(arguments: argparse.Namespace) -> DecodingOptions:
    """Return the decoding options; raises `ValueError` for a value outside its range."""
    return DecodingOptions(**decoding_values(arguments))


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where and how precisely to compute."""
    group = parser.add_argument_group("where to compute")
    group.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, ...; auto: a GPU if there is one"
    )
    group.add_argument(
        "--precision",
        default="auto",
        help="float32; mixed: the decoder in bfloat16; bfloat16: the encoder too; auto: where"
        " bfloat16 is fast, bfloat16 if the weights are rounded for it, else mixed; float32"
        " elsewhere (default: %(default)s)",
    )


def load_captioner(arguments: argparse.Namespace) -> Captioner:
    """Load the checkpoint that the arguments name, on their device and in their precision."""
    from model import Captioner
    from model.inference.devices import choose_device

    return Captioner.load(
        arguments.checkpoint, choose_device(arguments.device), arguments.precision
    )


def check_picture_name(path: Path) -> None:
    """Raise `ValueError` unless the name is that of a PNG."""
    if path.suffix != ".png":
        raise ValueError(f"{path}: the picture must be named *.png")
