"""A node's identity is kept whole, private, and by one daemon at a time."""

from pathlib import Path

import pytest

from node.store.files import CorruptFileError, read_checked, write_checked
from node.store.identity import DataFolder, FolderInUseError, Identity
from protocol.ids import NodeId


def identity() -> Identity:
    return Identity(
        node=NodeId("a" * 32),
        name="h1",
        cluster_id="c" * 32,
        environment_id=5,
        ca_pem="ca",
        certificate_pem="certificate",
        key_pem="key",
        gossip_key=b"g" * 32,
        overlay_private=b"o" * 32,
        seal_private=b"s" * 32,
        overlay_network="10.42.0.0/16",
        overlay_mode="wireguard",
        address="127.0.0.1",
        peer_port=8090,
        api_port=8080,
        overlay_port=51820,
    )


def test_fresh_folder_belongs_to_nobody(tmp_path: Path) -> None:
    assert DataFolder(tmp_path).load() is None


def test_identity_comes_back_as_saved_and_private(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "corral")
    folder.acquire()
    folder.save(identity())
    assert folder.load() == identity()
    assert {path.stat().st_mode & 0o777 for path in folder.path.iterdir()} == {0o600}
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.release()


def test_damaged_identity_is_named(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.save(identity())
    content = bytearray(folder.identity_file.read_bytes())
    content[100] ^= 1
    folder.identity_file.write_bytes(content)
    with pytest.raises(CorruptFileError, match="identity"):
        folder.load()


@pytest.mark.parametrize("content", [None, b"", b"half of a key"])
def test_damaged_copy_for_the_tls_library_is_made_again(tmp_path: Path, content: bytes | None) -> None:
    folder = DataFolder(tmp_path)
    folder.save(identity())
    good = folder.tls_file.read_bytes()
    folder.tls_file.unlink()
    if content is not None:
        folder.tls_file.write_bytes(content)
    folder.restore_tls_file(identity())
    assert folder.tls_file.read_bytes() == good
    assert folder.tls_file.stat().st_mode & 0o777 == 0o600


def test_second_daemon_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    first.acquire()
    with pytest.raises(FolderInUseError, match="another daemon"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_wiped_folder_belongs_to_nobody(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.save(identity())
    folder.log_file.write_bytes(b"log")
    (folder.path / "resolv").mkdir()
    (folder.path / "resolv" / "a.conf").write_text("nameserver 169.254.169.250")
    folder.wipe()
    assert folder.load() is None
    assert list(tmp_path.iterdir()) == []


def test_cut_file_is_found_out(tmp_path: Path) -> None:
    write_checked(tmp_path / "file", b"content")
    (tmp_path / "file").write_bytes((tmp_path / "file").read_bytes()[:-1])
    with pytest.raises(CorruptFileError):
        read_checked(tmp_path / "file")


def test_fresh_folder_can_be_taken_back_and_a_used_one_stays(tmp_path: Path) -> None:
    fresh, used = DataFolder(tmp_path / "fresh"), DataFolder(tmp_path / "used")
    for folder in (fresh, used):
        folder.acquire()
    used.save(identity())
    for folder in (fresh, used):
        folder.discard_if_fresh()
        folder.release()
    assert not fresh.path.exists()
    assert used.load() == identity()


def test_lock_of_a_file_that_was_taken_away_meanwhile_keeps_nobody_out(tmp_path: Path) -> None:
    leaving, second, third = DataFolder(tmp_path), DataFolder(tmp_path), DataFolder(tmp_path)
    leaving.acquire()
    (tmp_path / "lock").unlink()
    second.acquire()
    with pytest.raises(FolderInUseError, match="another daemon"):
        third.acquire()
    leaving.release()
    second.release()


def test_folder_of_a_host_that_left_is_gone_lock_and_all(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "corral")
    folder.acquire()
    folder.save(identity())
    folder.wipe()
    folder.discard_if_fresh()
    folder.release()
    assert list(tmp_path.iterdir()) == []
