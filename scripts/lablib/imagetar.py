"""Writes images as one archive for `docker load`, without an engine: layers, configurations, and the list of tags.

Equal folders give equal bytes, so the ids of the images are the same on every engine and after every rebuild.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Image:
    """One image: folders laid over each other, and how it runs."""

    tag: str
    layers: tuple[Path, ...]
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[str, ...] = ()
    stop_signal: str = ""


def write_archive(path: Path, images: Sequence[Image]) -> dict[str, str]:
    """Write the archive and return the images' ids by tag."""
    ids: dict[str, str] = {}
    manifest = []
    written: dict[Path, tuple[str, str]] = {}
    with tarfile.open(path, "w") as archive:
        for image in images:
            for layer in image.layers:
                if layer not in written:
                    written[layer] = _write_layer(archive, layer)
            layers = [written[layer] for layer in image.layers]
            config = json.dumps(_config(image, [digest for _, digest in layers]), sort_keys=True).encode()
            identity = hashlib.sha256(config).hexdigest()
            _add(archive, f"{identity}.json", config)
            manifest.append(
                {"Config": f"{identity}.json", "RepoTags": [image.tag], "Layers": [name for name, _ in layers]}
            )
            ids[image.tag] = f"sha256:{identity}"
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    return ids


def _write_layer(archive: tarfile.TarFile, folder: Path) -> tuple[str, str]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for top, folders, files in os.walk(folder):
            folders.sort()
            for name in sorted([*folders, *files]):
                path = Path(top) / name
                layer.add(path, str(path.relative_to(folder)), recursive=False, filter=_plain)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    name = f"{digest}/layer.tar"
    _add(archive, name, buffer.getvalue())
    return name, f"sha256:{digest}"


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "root", "root"
    return entry


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o644
    archive.addfile(entry, io.BytesIO(content))


def _config(image: Image, diffs: Sequence[str]) -> dict[str, Any]:
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **image.env}
    config: dict[str, Any] = {
        "Cmd": list(image.command),
        "Env": [f"{key}={value}" for key, value in env.items()],
        "WorkingDir": "/",
        "Labels": {"corral.lab.standin": "true"},
    }
    if image.ports:
        config["ExposedPorts"] = {f"{number}/tcp": {} for number in image.ports}
    if image.stop_signal:
        config["StopSignal"] = image.stop_signal
    return {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
        "os": "linux",
        "created": _EPOCH,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": list(diffs)},
        "history": [{"created": _EPOCH, "created_by": "scripts/lab"} for _ in diffs],
    }
