"""Ray makes the shards, and the store is that of one process: also when an actor is killed in between."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

ray = pytest.importorskip("ray")

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "audit"), str(ROOT / "plugins" / "xplain-ray")]

import planted  # noqa: E402
import xplain_ray  # noqa: E402

from xplain import audit  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Ray on two processors of this machine; its sockets need a short path."""
    place = Path("/tmp") / f"r{os.getpid()}"
    path = os.pathsep.join(map(str, sys.path[:3]))
    ray.init(
        num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False,
        logging_level="error", _temp_dir=str(place),
        runtime_env={"env_vars": {"PYTHONPATH": path, "OMP_WAIT_POLICY": "passive"}},
    )  # fmt: skip
    yield
    ray.shutdown()
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """An audit of ten shards, and its root as one process makes it."""
    root = tmp_path_factory.mktemp("ray")
    planted.audit(root / "fresh", planted.pictures(root / "data", 40), rows=4, shard_rows=4)
    shutil.copytree(root / "fresh", root / "here")
    assert audit.run(root / "here", workers=0).done
    return root, audit.open(root / "here").root


def test_the_store_is_that_of_one_process_though_an_actor_is_killed(cluster, planned):
    root, wanted = planned
    shutil.copytree(root / "fresh", root / "there")
    killed = []

    def kill(done, _):
        if done >= 3 and not killed:
            found = subprocess.run(["pgrep", "-f", "ray::.*Map"], capture_output=True, text=True).stdout.split()
            if found:
                killed.append(int(found[0]))
                os.kill(killed[0], signal.SIGKILL)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert xplain_ray.run(root / "there", workers=2, told=kill).done
    assert not [str(one.message) for one in said if one.filename == xplain_ray.__file__]
    assert killed
    assert audit.open(root / "there").root == wanted
    assert xplain_ray.run(root / "there").done  # nothing is left


def test_a_shard_whose_actor_dies_each_time_is_given_up_and_named(cluster, planned):
    """What was begun and ended counts no more, however often Ray asks for it again."""
    root, _ = planned
    attempts = ray.remote(num_cpus=0)(xplain_ray.Attempts).remote()
    make = xplain_ray.Maker(str(root / "here"), attempts)
    for _ in range(xplain_ray.RETRIES + 2):
        assert make({"shard": np.array([3])})["failed"] == [""]
    for _ in range(xplain_ray.RETRIES + 1):
        ray.get(attempts.begun.remote(4))  # and its actor died
    assert make({"shard": np.array([3, 4])})["failed"] == ["", f"its actor died {xplain_ray.RETRIES + 1} times"]
