"""What containers and hosts use, in the shape of cAdvisor that Rancher's clients draw (API.md 7).

Pure: reads Docker's `stats` and the texts of /proc as they were read; counts are cumulative, times in nanoseconds.
"""

from collections.abc import Mapping
from typing import Any

Row = dict[str, Any]

NANOSECONDS_PER_TICK = 10_000_000
"""The kernel tells times to programs in hundredths of a second."""
SECTOR_BYTES = 512
_WHOLE_DISKS = ("sd", "vd", "xvd", "nvme", "mmcblk", "hd")
_NOT_NETWORKS = ("lo", "veth", "docker", "br-", "corral")


def container_row(stats: Mapping[str, Any], timestamp: str) -> Row | None:
    """Return the row of a container; None for figures of one that does not run, which are all absent."""
    usage = _mapping(_mapping(stats.get("cpu_stats")).get("cpu_usage"))
    memory = _mapping(stats.get("memory_stats"))
    if "usage" not in memory or not usage.get("total_usage"):
        return None
    cache = _mapping(memory.get("stats"))
    limit = _number(memory.get("limit"))
    used = _number(memory.get("usage"))
    networks = _mapping(stats.get("networks"))
    interfaces = [
        {
            "name": name,
            "rx_bytes": _number(_mapping(each).get("rx_bytes")),
            "tx_bytes": _number(_mapping(each).get("tx_bytes")),
        }
        for name, each in sorted(networks.items())
    ]
    return {
        "memLimit": limit,
        "timestamp": timestamp,
        "cpu": {
            "usage": {
                "total": _number(usage.get("total_usage")),
                "per_cpu_usage": [_number(each) for each in usage.get("percpu_usage") or ()],
                "user": _number(usage.get("usage_in_usermode")),
                "system": _number(usage.get("usage_in_kernelmode")),
            }
        },
        "diskio": {"io_service_bytes": _disks_of(stats)},
        "network": _network(interfaces),
        "memory": {
            "usage": used,
            "limit": limit,
            # What could be taken back at any time is not what a person means by used memory.
            "working_set": max(0, used - _number(cache.get("total_inactive_file", cache.get("inactive_file")))),
        },
    }


def _network(interfaces: list[Row]) -> Row:
    return {
        "rx_bytes": sum(each["rx_bytes"] for each in interfaces),
        "tx_bytes": sum(each["tx_bytes"] for each in interfaces),
        "interfaces": interfaces,
    }


def _disks_of(stats: Mapping[str, Any]) -> list[Row]:
    disks: dict[tuple[int, int], dict[str, int]] = {}
    for each in _mapping(stats.get("blkio_stats")).get("io_service_bytes_recursive") or ():
        one = _mapping(each)
        name = str(one.get("op", "")).capitalize()
        if name in ("Read", "Write"):
            counts = disks.setdefault((_number(one.get("major")), _number(one.get("minor"))), {"Read": 0, "Write": 0})
            counts[name] += _number(one.get("value"))
    return [_disk(major, minor, counts["Read"], counts["Write"]) for (major, minor), counts in sorted(disks.items())]


def _disk(major: int, minor: int, read: int, written: int) -> Row:
    return {"major": major, "minor": minor, "stats": {"Read": read, "Write": written, "Total": read + written}}


def host_row(stat: str, meminfo: str, net: str, disks: str, timestamp: str) -> Row:
    """Return the row of a host from /proc/stat, /proc/meminfo, /proc/net/dev and /proc/diskstats."""
    cpus = [line.split() for line in stat.splitlines() if line.startswith("cpu")]
    busy = {words[0]: [int(word) * NANOSECONDS_PER_TICK for word in words[1:9]] for words in cpus if len(words) >= 9}
    whole = busy.get("cpu", [0] * 8)
    memory = {name: _kib(rest) for name, _, rest in (line.partition(":") for line in meminfo.splitlines())}
    total = memory.get("MemTotal", 0)
    free = memory.get("MemFree", 0)
    interfaces = [
        {"name": name, "rx_bytes": int(words[0]), "tx_bytes": int(words[8])}
        for name, words in ((left.strip(), right.split()) for left, _, right in _columns(net))
        if len(words) >= 9 and words[0].isdigit() and not name.startswith(_NOT_NETWORKS)
    ]
    return {
        "memLimit": total,
        "timestamp": timestamp,
        "cpu": {
            "usage": {
                "total": _busy(whole),
                "per_cpu_usage": [_busy(times) for name, times in busy.items() if name != "cpu"],
                "user": whole[0] + whole[1],
                "system": whole[2],
            }
        },
        "diskio": {"io_service_bytes": _host_disks(disks)},
        "network": _network(interfaces),
        "memory": {
            "usage": total - free,
            "limit": total,
            "working_set": total - memory.get("MemAvailable", free),
        },
    }


def _busy(times: list[int]) -> int:
    """All but what was idle or waited for a disk: user nice system idle iowait irq softirq steal."""
    return sum(times) - times[3] - times[4]


def _columns(net: str) -> list[tuple[str, str, str]]:
    return [line.partition(":") for line in net.splitlines() if ":" in line]


def _host_disks(text: str) -> list[Row]:
    found = []
    for words in (line.split() for line in text.splitlines()):
        if len(words) >= 10 and _is_whole_disk(words[2]):
            found.append(
                _disk(int(words[0]), int(words[1]), int(words[5]) * SECTOR_BYTES, int(words[9]) * SECTOR_BYTES)
            )
    return found


def _is_whole_disk(name: str) -> bool:
    """Whether a name is that of a disk and not of a part of one: what a part does, its disk does too."""
    if name.startswith(("nvme", "mmcblk")):
        return "p" not in name.removeprefix("mmcblk").removeprefix("nvme")
    return name.startswith(_WHOLE_DISKS) and not name[-1].isdigit()


def _kib(text: str) -> int:
    words = text.split()
    return int(words[0]) * 1024 if words and words[0].isdigit() else 0


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0
