"""Stand-ins for public images, made from Debian's packages without a registry, built once and cached.

Packages are downloaded with all they depend on and unpacked into a folder; nothing of them is installed on the
machine and no service of theirs can start.  Each image is a base layer with a shell plus one layer with its program
and the libraries that the loader names.  The cache is keyed by this file's text: a changed recipe is a new archive.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.lablib import ground
from scripts.lablib.errors import LabError
from scripts.lablib.imagetar import Image, write_archive

_SOURCES = Path(__file__).with_name("standins")
_PACKAGES = ("busybox-static", "nginx", "redis-server", "memcached", "libc6", "libc-bin", "iputils-ping")


@dataclass(frozen=True, slots=True)
class Archive:
    """All stand-in images in one file for `docker load`."""

    path: Path
    tags: dict[str, str]
    """Image ids by tag."""


def ensure(say: Callable[[str], None]) -> Archive:
    """Return the archive from the cache, building it first if there is none for this recipe."""
    cache = Path(os.environ.get("CORRAL_LAB_CACHE", "/var/cache/corral-lab"))
    cache.mkdir(parents=True, exist_ok=True)
    key = _recipe_hash()
    path, index = cache / f"images-{key}.tar", cache / f"images-{key}.json"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not index.exists():
            started_at = time.monotonic()
            say("building stand-in images from Debian packages (once)")
            for old in cache.glob("images-*"):
                old.unlink()
            index.write_text(json.dumps(_build(path, say)))
            say(f"built in {time.monotonic() - started_at:.1f} s: {path}, {path.stat().st_size / 1e6:.0f} MB")
    return Archive(path, json.loads(index.read_text()))


def _recipe_hash() -> str:
    digest = hashlib.sha256(os.uname().machine.encode())
    own = [Path(__file__), Path(__file__).with_name("imagetar.py")]
    for source in [*own, *sorted(path for path in _SOURCES.iterdir() if path.is_file())]:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def _build(path: Path, say: Callable[[str], None]) -> dict[str, str]:
    ground.install(ground.BUILD_PROGRAMS, say)
    with tempfile.TemporaryDirectory(prefix="build-", dir=path.parent) as folder:
        work = Path(folder)
        tree = _unpack(work)
        layers = work / "layers"
        _base(tree, layers / "base")
        _nginx(tree, layers)
        _redis(tree, layers / "redis")
        _memcached(tree, layers / "memcached")
        _resolvers(tree, layers)
        return write_archive(path, _images(layers))


def _images(layers: Path) -> list[Image]:
    base, pause, web = layers / "base", ("pause",), ("nginx", "-g", "daemon off;")
    images = [Image("busybox:latest", (base,), ("sh",))]
    for version in ("1.8", "1.9"):
        stack = (base, layers / "nginx", layers / f"nginx-{version}")
        env = {"NGINX_VERSION": version}
        images.append(Image(f"nginx:{version}-alpine", stack, web, env=env, ports=("80", "443"), stop_signal="SIGQUIT"))
    for tag, version in (("redis:alpine", "7"), ("redis:3.0.7-alpine", "3.0.7")):
        images.append(
            Image(tag, (base, layers / "redis"), ("redis-server",), env={"REDIS_VERSION": version}, ports=("6379",))
        )
    images.append(Image("memcached:latest", (base, layers / "memcached"), ("memcached",), ports=("11211",)))
    images.append(Image("corral-test/glibc:latest", (base, layers / "glibc"), pause))
    images.append(Image("corral-test/musl:latest", (base, layers / "musl"), pause))
    return images


def _unpack(work: Path) -> Path:
    """Download the packages and everything they need, and lay them out as one root folder."""
    debs, tree, status = work / "debs", work / "tree", work / "status"
    (debs / "partial").mkdir(parents=True)
    status.touch()
    ground.refresh_lists()
    # An empty status file: what the machine happens to have installed must not change what is in the images.
    options = [f"-oDir::State::status={status}", f"-oDir::Cache::archives={debs}", "-oAPT::Sandbox::User=root"]
    ground.apt([*options, "--yes", "--no-install-recommends", "--download-only", "install", *_PACKAGES])
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    for deb in sorted(debs.glob("*.deb")):
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as unpacked:
            _run(["tar", "-x", "--keep-directory-symlink", "-C", str(tree)], stdin=unpacked.stdout)
    return tree


def _base(tree: Path, layer: Path) -> None:
    """A shell with everything busybox can do, and `pause`, which waits and ends at once when told to."""
    _skeleton(layer)
    shutil.copy2(tree / "bin" / "busybox", layer / "bin" / "busybox")
    listing = subprocess.run([str(layer / "bin" / "busybox"), "--list"], capture_output=True, text=True, check=True)
    for applet in listing.stdout.split():
        if applet != "busybox":
            (layer / "bin" / applet).symlink_to("busybox")
    _compile("pause.c", layer / "bin" / "pause")
    etc = layer / "etc"
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    (etc / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    (etc / "standin").write_text("A stand-in for a public image, made from Debian packages for Corral's lab.\n")


def _nginx(tree: Path, layers: Path) -> None:
    layer = layers / "nginx"
    _program(tree, layer, "usr/sbin/nginx")
    for name in ("etc/nginx", "var/log/nginx", "var/lib/nginx", "run"):
        (layer / name).mkdir(parents=True, exist_ok=True)
    shutil.copy2(tree / "etc/nginx/mime.types", layer / "etc/nginx/mime.types")
    for version in ("1.8", "1.9"):
        text = (_SOURCES / "nginx.conf").read_text().replace("VERSION", version)
        conf = layers / f"nginx-{version}" / "etc" / "nginx" / "nginx.conf"
        conf.parent.mkdir(parents=True)
        conf.write_text(text)


def _redis(tree: Path, layer: Path) -> None:
    for program in ("usr/bin/redis-server", "usr/bin/redis-cli"):
        _program(tree, layer, program)
    _wrapper(layer, "redis-server")
    (layer / "data").mkdir()


def _memcached(tree: Path, layer: Path) -> None:
    _program(tree, layer, "usr/bin/memcached")
    _wrapper(layer, "memcached")


def _resolvers(tree: Path, layers: Path) -> None:
    """`lookup NAME` prints a name's addresses, once through glibc's resolver and once through musl's."""
    for program in ("usr/bin/getent", "usr/bin/ping"):
        _program(tree, layers / "glibc", program)
    _wrapper(layers / "glibc", "lookup")
    _compile("lookup.c", layers / "musl" / "usr" / "local" / "bin" / "lookup")


def _skeleton(layer: Path) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        (layer / "usr" / name).mkdir(parents=True)
        (layer / name).symlink_to(f"usr/{name}")
    for name in ("dev", "etc", "proc", "root", "run", "sys", "tmp", "usr/local/bin", "var"):
        (layer / name).mkdir(parents=True, exist_ok=True)
    (layer / "var" / "run").symlink_to("/run")
    (layer / "tmp").chmod(0o1777)


def _program(tree: Path, layer: Path, program: str) -> None:
    """Copy a program with the loader and the libraries it names."""
    loader = next(path for path in (tree / "lib64").glob("ld-linux*"))
    inside = f"/lib64/{loader.name}"
    listing = _run(["chroot", str(tree), inside, "--list", f"/{program}"])
    libraries = [word for word in listing.split() if word.startswith("/")]
    for path in {f"/{program}", inside, *libraries}:
        # Through the folders' links, so that a file lands where the base layer's links lead.
        target = layer / (tree / path.lstrip("/")).parent.resolve().relative_to(tree.resolve()) / Path(path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2((tree / path.lstrip("/")).resolve(), target)


def _wrapper(layer: Path, name: str) -> None:
    target = layer / "usr" / "local" / "bin" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_SOURCES / f"{name}.sh", target)
    target.chmod(0o755)


def _compile(source: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _run(["musl-gcc", "-static", "-Os", "-s", "-o", str(target), str(_SOURCES / source)])


def _run(argv: Sequence[str], *, stdin: object = None) -> str:
    done = subprocess.run(argv, stdin=stdin, capture_output=True, text=True, check=False)  # type: ignore[call-overload]
    if done.returncode:
        raise LabError(f"{' '.join(argv)} failed:\n{done.stderr.strip()}")
    return str(done.stdout)
