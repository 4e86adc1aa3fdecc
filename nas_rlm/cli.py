"""The command ``nas-rlm``.

What a subcommand needs is imported when it runs, so that ``--help`` and ``text`` answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from nas_rlm import cli_adapt, cli_data, cli_learn, cli_measure, cli_search
from nas_rlm.cli_arguments import Commands, Formatter, add_command, add_space

USER_ERROR = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; those of the process if left out.

    Returns:
        The exit status: 0, 2 for a user's error, 130 if interrupted.
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Nothing is to be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        resume = "; the same command goes on where it stopped" if arguments.resumable else ""
        print(f"\nnas-rlm: stopped{resume}", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        print(f"nas-rlm: error: {_explain(error)}", file=sys.stderr)
        return USER_ERROR
    except ValueError as error:
        print(f"nas-rlm: error: {error}", file=sys.stderr)
        return USER_ERROR
    return 0


def _explain(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    remedy = "; name a place that you may write to" if isinstance(error, PermissionError) else ""
    return f"{where}{error.strerror or error}{remedy}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nas-rlm",
        description="Hardware-aware neural architecture search with a Regression Language Model "
        "in Optuna.",
        epilog="`nas-rlm COMMAND --help` has the options and an example of each command.",
        formatter_class=Formatter,
    )
    parser.add_argument("--version", action="version", version=f"nas-rlm {version('nas-rlm')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for module in (cli_search, cli_learn, cli_measure, cli_adapt, cli_data):
        module.add_commands(commands)
    _add_text(commands)
    return parser


def _add_text(commands: Commands) -> None:
    command = add_command(
        commands,
        "text",
        "print the ONNX text of an architecture",
        "Print the ONNX text that the RLM reads.",
        "nas-rlm text '|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|'",
    )
    command.set_defaults(run=_text)
    command.add_argument("architecture", metavar="ARCH", help="in the space's notation, quoted")
    add_space(command)


def _text(arguments: argparse.Namespace) -> None:
    from search_spaces import get_space

    space = get_space(arguments.space)
    print(space.onnx_text(space.parse(arguments.architecture)), end="")
