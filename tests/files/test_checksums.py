"""Checksums: SHA-256 as published, whatever the order of a record's entries."""

import io
from hashlib import sha256

import pytest

from recbole_unirep.files.checksums import (
    BLOCK,
    check_checksum,
    file_sha256,
    record_sha256,
    stream_sha256,
    with_checksum,
)

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4, the example "abc"


def test_a_file_has_the_published_checksum(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert file_sha256(tmp_path / "file") == ABC


@pytest.mark.parametrize("n_bytes", [0, 3, BLOCK, BLOCK + 5])
def test_a_stream_is_read_for_so_many_bytes(n_bytes):
    content = bytes(range(256)) * (BLOCK // 256 + 1)
    file = io.BytesIO(content)
    assert stream_sha256(file, n_bytes) == sha256(content[:n_bytes]).hexdigest()
    assert file.tell() == n_bytes


def test_a_record_carries_its_checksum_last(tmp_path):
    record = with_checksum({"b": (1, 2), "a": {"x": None}})
    assert list(record) == ["b", "a", "record_sha256"]
    assert record["record_sha256"] == sha256(b'{"a": {"x": null}, "b": [1, 2]}').hexdigest()
    check_checksum(tmp_path / "record.json", {"a": {"x": None}, "b": [1, 2], **record})
    with pytest.raises(ValueError, match=r"record.json is not the file that was written \(its sha256 differs\)"):
        check_checksum(tmp_path / "record.json", {**record, "b": [1, 3]})
    check_checksum(tmp_path / "record.json", {"b": [1, 3]})  # of an earlier version, without a checksum
    assert with_checksum({"a": 1}, "own") == {"a": 1, "own": record_sha256({"a": 1, "own": "anything"}, "own")}
