"""``nas-rlm data``: the publishers' files and the tables that are imported from them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from nas_rlm.cli_arguments import Commands, add_command, add_quiet
from nas_rlm.config import DATA_VARIABLE, IMPORTED


def add_commands(commands: Commands) -> None:
    """Add what is in this file to the command line."""
    command = add_command(
        commands,
        "data",
        "import the publishers' own files",
        "Import the files that benchmarks and latencies were published as. Nothing in a file is\n"
        "run. What comes of it are tables, in a folder that every command takes as --data.",
        "nas-rlm data import help_nasbench201 HELP/data/nasbench201 --data tables",
    )
    actions = command.add_subparsers(metavar="ACTION", required=True, title="actions")
    data = argparse.ArgumentParser(add_help=False)
    data.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help=f"the folder of tables (default: the environment variable {DATA_VARIABLE})",
    )
    action = actions.add_parser("list", parents=[data], help="what can be imported, what is there")
    action.set_defaults(run=_list_all)

    action = actions.add_parser("get", help="download a publisher's file")
    action.set_defaults(run=_get, resumable=True)
    action.add_argument("name", metavar="NAME", help="see `nas-rlm data list`")
    action.add_argument(
        "--out", type=Path, default=Path(), metavar="FOLDER", help="where it goes (default: here)"
    )
    action.add_argument("--mirror", metavar="URL", help="another address of the same file")
    add_quiet(action)

    action = actions.add_parser(
        "import", parents=[data], help="read a publisher's file into the folder of tables"
    )
    action.set_defaults(run=_import)
    action.add_argument("name", metavar="NAME", help="see `nas-rlm data list`")
    action.add_argument("path", type=Path, metavar="PATH", help="the file or folder")
    action.add_argument(
        "--any-file",
        action="store_true",
        help="even if its checksum is not that of the publisher's file",
    )

    action = actions.add_parser("check", parents=[data], help="read all imported tables whole")
    action.set_defaults(run=_check)


def _list_all(arguments: argparse.Namespace) -> None:
    """What can be imported, and what is there."""
    from nas_rlm.publishers import PUBLISHERS

    width = max(map(len, PUBLISHERS))
    for publisher in PUBLISHERS.values():
        way = f"nas-rlm data get {publisher.name}" if publisher.url else publisher.obtain
        print(f"{publisher.name:{width}}  {publisher.title}\n{'':{width}}  {way}")
    folder = _folder(arguments)
    if folder is None:
        print(f"\nno folder of tables: name it with --data or {DATA_VARIABLE}")
        return
    paths = _tables(folder)
    print(f"\nimported into {folder}: {len(paths)}")
    for path in paths:
        print(_described(path))


def _get(arguments: argparse.Namespace) -> None:
    """Download a publisher's file, or go on with it."""
    from nas_rlm.downloads import download
    from nas_rlm.publishers import get_publisher

    publisher = get_publisher(arguments.name)
    if publisher.url is None:
        raise ValueError(
            f"{publisher.file} has no stable address; get it yourself: {publisher.obtain}"
        )
    urls = [arguments.mirror] if arguments.mirror else [publisher.url]
    path = download(
        urls,
        arguments.out / publisher.file,
        publisher.sha256,
        progress=not arguments.quiet,
    )
    print(f"{path}\nnext: nas-rlm data import {publisher.name} {path}")


def _import(arguments: argparse.Namespace) -> None:
    """Read a publisher's file into the folder of tables."""
    from nas_rlm.imports import import_table
    from nas_rlm.publishers import get_publisher

    folder = _folder(arguments)
    if folder is None:
        raise ValueError(f"name the folder of tables with --data or {DATA_VARIABLE}")
    publisher = get_publisher(arguments.name)
    path, left_out = import_table(publisher, arguments.path, folder, any_file=arguments.any_file)
    print(_described(path))
    for why, number in left_out.items():
        print(f"  left out, {why}: {number:,}")


def _check(arguments: argparse.Namespace) -> None:
    """Read every imported table whole."""
    folder = _folder(arguments)
    paths = [] if folder is None else _tables(folder)
    if not paths:
        raise ValueError(f"no imported table: name their folder with --data or {DATA_VARIABLE}")
    from nas_rlm.imports import check_table

    for path in paths:
        print(f"{path.name}: {check_table(path)}")


def _folder(arguments: argparse.Namespace) -> Path | None:
    named = arguments.data or os.environ.get(DATA_VARIABLE)
    if not named:
        return None
    path = Path(named).expanduser()
    return path if path.suffix == "" else path.parent


def _tables(folder: Path) -> list[Path]:
    """What was imported into it."""
    return sorted(folder.glob(f"*{IMPORTED}"))


def _described(path: Path) -> str:
    from nas_rlm import columnar

    columns = columnar.read(path.read_bytes())
    lines = [f"{path.name}: {len(columns.notation):,} architectures of {columns.space}"]
    by_origin: dict[tuple[str, str, str], list[str]] = {}
    for name, origin in columns.origins.items():
        place = origin.citation, origin.file, origin.imported
        by_origin.setdefault(place, []).append(name)
    for (citation, file, imported), names in by_origin.items():
        lines.append(f"  {', '.join(names)}\n    from {file}, {imported[:10]}: {citation}")
    return "\n".join(lines)
