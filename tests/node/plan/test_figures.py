"""Figures of containers and hosts in the shape that Rancher's clients draw."""

from node.plan.figures import container_row, host_row

AT = "2016-04-12T06:00:00.000000000Z"
STATS = {
    "cpu_stats": {
        "cpu_usage": {
            "total_usage": 500, "percpu_usage": [300, 200], "usage_in_usermode": 400, "usage_in_kernelmode": 100,
        }
    },
    "memory_stats": {"usage": 1000, "limit": 4000, "stats": {"total_inactive_file": 300}},
    "networks": {"eth0": {"rx_bytes": 10, "tx_bytes": 20}, "eth1": {"rx_bytes": 1, "tx_bytes": 2}},
    "blkio_stats": {
        "io_service_bytes_recursive": [
            {"major": 8, "minor": 0, "op": "Read", "value": 5},
            {"major": 8, "minor": 0, "op": "write", "value": 7},
            {"major": 8, "minor": 0, "op": "Total", "value": 12},
        ]
    },
}  # fmt: skip


def test_row_of_a_container_has_what_docker_counted() -> None:
    row = container_row(STATS, AT)
    assert row is not None
    assert (row["memLimit"], row["timestamp"]) == (4000, AT)
    assert row["cpu"]["usage"] == {"total": 500, "per_cpu_usage": [300, 200], "user": 400, "system": 100}
    assert row["memory"] == {"usage": 1000, "limit": 4000, "working_set": 700}
    assert (row["network"]["rx_bytes"], row["network"]["tx_bytes"]) == (11, 22)
    assert row["diskio"]["io_service_bytes"] == [
        {"major": 8, "minor": 0, "stats": {"Read": 5, "Write": 7, "Total": 12}}
    ]


def test_container_that_does_not_run_has_no_row() -> None:
    assert container_row({"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}, AT) is None
    assert container_row({"cpu_stats": None, "memory_stats": 3}, AT) is None


def test_row_of_a_host_is_read_from_proc() -> None:
    row = host_row(
        "cpu  100 1 50 800 20 5 4 0 0 0\ncpu0 50 1 25 400 10 5 2 0 0 0\ncpu1 50 0 25 400 10 0 2 0 0 0\nintr 5\n",
        "MemTotal: 1000 kB\nMemFree: 300 kB\nMemAvailable: 600 kB\n",
        "Inter-| Receive\n face |bytes\n  lo: 5 0 0 0 0 0 0 0 5 0\n"
        " eth0: 7 0 0 0 0 0 0 0 9 0\nveth1: 1 0 0 0 0 0 0 0 1 0\n",
        "8 0 sda 1 0 10 0 1 0 20 0 0 0 0\n8 1 sda1 1 0 10 0 1 0 20 0 0 0 0\n"
        "259 0 nvme0n1 1 0 2 0 1 0 4 0 0 0 0\n259 1 nvme0n1p1 1 0 2 0 1 0 4 0 0 0 0\n",
        AT,
    )
    assert row["cpu"]["usage"]["total"] == 160 * 10_000_000
    assert [row["cpu"]["usage"]["user"], row["cpu"]["usage"]["system"]] == [1_010_000_000, 500_000_000]
    assert len(row["cpu"]["usage"]["per_cpu_usage"]) == 2
    assert row["memory"] == {"usage": 700 * 1024, "limit": 1000 * 1024, "working_set": 400 * 1024}
    assert row["network"]["interfaces"] == [{"name": "eth0", "rx_bytes": 7, "tx_bytes": 9}]
    assert [disk["stats"]["Read"] for disk in row["diskio"]["io_service_bytes"]] == [10 * 512, 2 * 512]
