from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from nas_rlm.downloads import DownloadError, download
from nas_rlm.files import UNFINISHED

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ``CONTENT`` as ``/file``; as ``/broken`` the first half of what is asked for."""

    ranges: list[str | None]
    knows_ranges = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        if self.path not in ("/file", "/broken"):
            self.send_error(404)
            return
        start = int(wanted[6:-1]) if wanted and self.server.knows_ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        rest = CONTENT[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: len(rest) // 2] if self.path == "/broken" else rest)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), _Handler) as server:
        server.ranges = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_gets_a_file_once(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.pt"
    for _ in range(2):
        assert download([f"{server.address}/file"], path, SHA256, progress=False) == path
        assert path.read_bytes() == CONTENT
    assert server.ranges == [None]
    assert list(path.parent.iterdir()) == [path]


def test_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "table.pt"
    with pytest.raises(DownloadError, match=r"/broken: .*try again"):
        download([f"{server.address}/broken"], path, SHA256, progress=False)
    assert not path.exists()
    there = path.with_name(path.name + UNFINISHED).stat().st_size
    assert there > 0
    assert download([f"{server.address}/file"], path, SHA256, progress=False) == path
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={there}-"]


def test_begins_again_where_the_server_cannot_go_on(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "table.pt"
    path.with_name(path.name + UNFINISHED).write_bytes(b"half of something")
    server.knows_ranges = False
    download([f"{server.address}/file"], path, SHA256, progress=False)
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_whole_is_only_checked(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "table.pt"
    path.with_name(path.name + UNFINISHED).write_bytes(CONTENT)
    download([f"{server.address}/file"], path, SHA256, progress=False)
    assert path.read_bytes() == CONTENT


def test_takes_the_mirror(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "table.pt"
    download([f"{server.address}/gone", f"{server.address}/file"], path, SHA256, progress=False)
    assert path.read_bytes() == CONTENT


def test_another_checksum_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "table.pt"
    with pytest.raises(DownloadError, match="hash"):
        download([f"{server.address}/file"], path, "0" * 64, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"name a mirror"):
        download(["http://127.0.0.1:9/file"], tmp_path / "table.pt", progress=False)
