"""A host that leaves: its daemon ends well, and nothing of it remains, no lock and no empty folder."""

from scripts.lightlib.cluster import LightCluster, eventually, run_node


def test_host_that_leaves_takes_its_folders_along(light: LightCluster) -> None:
    stays, leaves = light.found(), light.join()
    ran = run_node("leave", "--yes", "--socket", str(leaves.run / "api.sock"), timeout=90)
    assert ran.code == 0, ran.err
    assert leaves.process is not None
    assert leaves.process.wait(60) == 0
    assert not leaves.data.exists()
    assert not leaves.run.exists(), list(leaves.run.iterdir())
    assert "Traceback" not in leaves.log()
    members = eventually(lambda: (stays.cluster() or {}).get("voters"), "the other goes on")
    assert len(members) == 1


def test_last_host_that_leaves_by_force_takes_its_folders_along(light: LightCluster) -> None:
    (node,) = light.make(1)
    ran = run_node("leave", "--yes", "--force", "--socket", str(node.run / "api.sock"), timeout=90)
    assert ran.code == 0, ran.err
    assert node.process is not None
    assert node.process.wait(60) == 0
    assert not node.data.exists()
    assert not node.run.exists(), list(node.run.iterdir())
