"""The cgroups a lab leaves in every hierarchy, and their removal; other cgroups are never touched."""

import os
from pathlib import Path


def hierarchies() -> list[Path]:
    """Return where cgroup hierarchies are mounted, version 1 and 2."""
    rows = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(row[1]) for row in rows if row[2] in ("cgroup", "cgroup2")]


def remove_tree(name: str, below: str = "") -> bool:
    """Remove a lab's cgroups, or those of one host; False while the kernel still counts somebody in them."""
    left = False
    for hierarchy in hierarchies():
        top = hierarchy / name / below
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                left = True
    return not left
