"""The lab's rules that need no kernel: names, addresses, whose process is whose, equal bytes for equal images."""

import json
import tarfile
from pathlib import Path

import pytest

from scripts.lablib import LabError, Layout, ground, layout
from scripts.lablib.imagetar import Image, write_archive
from scripts.lablib.procs import is_daemon


@pytest.mark.parametrize("name", ["", "Lab", "-x", "a/b", "..", "a" * 32])
def test_layout_refuses_a_lab_name_when_it_is_no_plain_word(name: str) -> None:
    with pytest.raises(LabError) as refused:
        Layout.of(name)
    assert refused.value.code == 2


def test_layout_shares_no_folder_and_no_cgroup_between_two_names() -> None:
    one, two = Layout.of("one"), Layout.of("two")
    assert one.folder != two.folder
    assert one.cgroup != two.cgroup


@pytest.mark.parametrize("host", ["h0", "h41", "h", "h1x", "switch", "../h1"])
def test_host_number_refuses_what_is_no_host(host: str) -> None:
    with pytest.raises(LabError):
        layout.host_number(host)


def test_addresses_bridges_and_cards_differ_between_all_hosts() -> None:
    hosts = layout.host_names(layout.MAX_HOSTS)
    for of in (layout.address, layout.engine_bridge, layout.mac, layout.port):
        assert len({of(host) for host in hosts}) == layout.MAX_HOSTS


def test_first_host_has_the_address_that_the_documents_name() -> None:
    assert layout.address("h1") == "10.99.0.11"


@pytest.mark.parametrize(
    "line",
    [
        "/v/bin/python3 -m node.daemon --data /var/lib/corral",
        "/v/bin/python3 /v/bin/node start",
        "/v/bin/python3 -m node join h1",
        "/v/bin/corral start",
    ],
)
def test_daemon_is_recognised_however_it_was_started(line: str) -> None:
    assert is_daemon(line.split())


@pytest.mark.parametrize("line", ["python3 -m dns.server", "node status", "wireguard-go wg0", "tail -f node.log", ""])
def test_daemon_is_not_taken_for_its_neighbours(line: str) -> None:
    assert not is_daemon(line.split())


def test_missing_packages_names_each_once_and_only_for_programs_that_are_not_there() -> None:
    programs = {"sh": "dash", "no-such-program": "some-package", "nor-this-one": "some-package"}
    assert ground.missing_packages(programs) == ["some-package"]


def test_archive_has_equal_bytes_when_built_twice_from_equal_folders(tmp_path: Path) -> None:
    archives = []
    for attempt in ("a", "b"):
        layer = tmp_path / attempt / "layer"
        (layer / "bin").mkdir(parents=True)
        (layer / "bin" / "sh").write_text("shell")
        (layer / "bin" / "ls").symlink_to("sh")
        archive = tmp_path / attempt / "images.tar"
        ids = write_archive(archive, [Image("x:1", (layer,), ("sh",))])
        archives.append((ids, archive.read_bytes()))
    assert archives[0] == archives[1]


def test_archive_holds_a_shared_layer_once(tmp_path: Path) -> None:
    base, top = tmp_path / "base", tmp_path / "top"
    for layer in (base, top):
        layer.mkdir()
        (layer / layer.name).write_text("content")
    write_archive(tmp_path / "t.tar", [Image("x:1", (base,), ("sh",)), Image("y:1", (base, top), ("sh",))])
    with tarfile.open(tmp_path / "t.tar") as archive:
        entries = archive.getnames()
        listed = archive.extractfile("manifest.json")
        assert listed is not None
        manifest = json.load(listed)
    assert len([name for name in entries if name.endswith("layer.tar")]) == 2
    assert [image["RepoTags"] for image in manifest] == [["x:1"], ["y:1"]]
