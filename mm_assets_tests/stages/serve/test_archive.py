"""The tar.gz: the same content gives the same bytes, whatever the files are otherwise."""

import hashlib
import os
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from mm_assets.stages.serve.archive import pack, unpack


def quiet(_: str) -> None:
    """Nobody listens."""


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(np.random.default_rng(1).bytes(3_000_000))
    first = pack(tmp_path / "one.tar.gz", {"b": weights, "a": b"text"}, quiet)
    other = tmp_path / "elsewhere"
    other.write_bytes(weights.read_bytes())
    other.chmod(0o600)
    os.utime(other, (1, 1))
    second = pack(tmp_path / "two.tar.gz", {"a": b"text", "b": other}, quiet)
    assert first == second
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    assert first.sha256 == hashlib.sha256((tmp_path / "one.tar.gz").read_bytes()).hexdigest()
    assert first.num_bytes == (tmp_path / "one.tar.gz").stat().st_size
    assert first.files == {"a": 4, "b": 3_000_000}
    assert pack(tmp_path / "three.tar.gz", {"a": b"texts", "b": other}, quiet).sha256 != first.sha256


def test_files_lie_at_the_root_and_come_back(tmp_path: Path) -> None:
    lines: list[str] = []
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"w" * 2_500_000)
    pack(
        tmp_path / "model.tar.gz",
        {"sub/x.json": b"{}", "model.safetensors": weights, "README.md": b"# hi"},
        lines.append,
    )
    with tarfile.open(tmp_path / "model.tar.gz") as tar:
        assert tar.getnames() == ["README.md", "model.safetensors", "sub/x.json"]
        assert {(item.mode, item.mtime, item.uid, item.gid, item.uname) for item in tar} == {(0o644, 0, 0, 0, "")}
    assert lines[-1].startswith("3 of 3 MB packed")
    unpack(tmp_path / "model.tar.gz", tmp_path / "out")
    assert (tmp_path / "out" / "sub" / "x.json").read_bytes() == b"{}"
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == weights.read_bytes()


def test_level_0_packs_as_it_is(tmp_path: Path) -> None:
    packed = pack(tmp_path / "model.tar.gz", {"zeros": bytes(1_000_000)}, quiet, level=0)
    assert packed.num_bytes > 1_000_000
    unpack(tmp_path / "model.tar.gz", tmp_path / "out")
    assert (tmp_path / "out" / "zeros").read_bytes() == bytes(1_000_000)


def test_what_leads_out_of_the_folder_is_not_unpacked(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../evil"))
    with pytest.raises(tarfile.TarError):
        unpack(tmp_path / "evil.tar.gz", tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    import tracemalloc

    weights = tmp_path / "weights"
    with weights.open("wb") as file:
        file.truncate(200_000_000)
    tracemalloc.start()
    pack(tmp_path / "model.tar.gz", {"weights": weights}, quiet)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_a_damaged_archive_is_not_unpacked(tmp_path: Path, level: int, damage: str) -> None:
    """In the middle of a file, and at the very end, where nothing but checksums is."""
    archive = tmp_path / "model.tar.gz"
    pack(archive, {"weights": np.random.default_rng(2).bytes(3_000_000)}, quiet, level=level)
    data = bytearray(archive.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    else:
        del data[-4:]
    archive.write_bytes(data)
    with pytest.raises((OSError, EOFError, zlib.error)):
        unpack(archive, tmp_path / "out")
