"""Exports for other tools, each read back by the tool's own library where that is installed."""

from __future__ import annotations

import json
import sys

import pytest
from audit import synthetic
from audit.stand_in import Reader
from PIL import Image

from xplain.audit.reports.exports import EXPORTS, export, scalars
from xplain.audit.reports.telling import told
from xplain.core.errors import MissingDependency

LANE = "fp32/grad-cam/predicted"


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    return Reader(synthetic.write(tmp_path_factory.mktemp("audit") / "a", items=300, rows=150, sample=40, errors=0.02))


@pytest.fixture(scope="module")
def said(audit):
    return told(audit, None, (2, 2), {"deletion": ("lower", "?")}.get)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "p.png"
    Image.new("RGB", (8, 8)).save(path)
    return path


def test_the_numbers_that_go_out_are_those_of_the_report(audit, said):
    numbers = scalars(said)
    (mean,) = audit.sql(f"select avg(margin) as m from records where lane = '{LANE}'")["m"].to_pylist()
    assert numbers[f"lanes/{LANE}/margin"] == pytest.approx(mean)
    assert numbers[f"lanes/{LANE}/items"] == 300
    assert numbers[f"tests/{LANE}/deletion/explanation"] < numbers[f"tests/{LANE}/deletion/random"]


@pytest.mark.parametrize("kind", EXPORTS)
def test_a_library_that_is_missing_is_named_with_its_command(audit, said, kind, tmp_path, monkeypatch):
    for name in ("tensorboard", "tensorboard.compat.proto.summary_pb2", "mlflow", "fiftyone"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependency, match=f"pip install {kind}"):
        export(audit, said, kind, tmp_path / "out", lambda _: None)


def test_tensorboard_reads_what_was_written(audit, said, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    export(audit, said, "tensorboard", tmp_path / "out", lambda _: None)
    read = EventAccumulator(str(tmp_path / "out"))
    read.Reload()
    assert set(read.Tags()["scalars"]) == set(scalars(said))
    (event,) = read.Scalars(f"lanes/{LANE}/margin")
    assert event.value == pytest.approx(scalars(said)[f"lanes/{LANE}/margin"], rel=1e-6)
    (bars,) = read.Histograms(f"{LANE}/gini")
    assert sum(bars.histogram_value.bucket) == said.histograms[0].count
    assert len(read.Tags()["images"]) > 20


def test_mlflow_reads_what_was_written(audit, said, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    export(audit, said, "mlflow", tmp_path / "out", lambda _: None)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("xplain-audit").experiment_id])
    assert run.data.params["root"] == audit.root
    assert run.data.metrics == pytest.approx(scalars(said))
    (artifact,) = client.list_artifacts(run.info.run_id)
    assert artifact.path == "audit.json"


def test_fiftyone_reads_what_was_written_without_its_database(audit, said, tmp_path, picture):
    pytest.importorskip("fiftyone")
    from fiftyone.utils.data.importers import LegacyFiftyOneDatasetImporter

    text = export(audit, said, "fiftyone", tmp_path / "out", lambda item: picture if item % 2 else None)
    assert text.startswith("150 samples; 150 items that are no files of their own are left out")
    read = LegacyFiftyOneDatasetImporter(str(tmp_path / "out"))
    read.setup()
    assert read.get_dataset_info()["root"] == audit.root
    rows = {row["item"]: row for row in audit.sql(f"select * from records where lane = '{LANE}'").to_pylist()}
    samples = list(read)
    assert len(samples) == 150
    for sample in samples:
        row = rows[sample.xplain_item]
        assert sample.label.label == row["label"]
        if row["status"] == "ok":
            assert (sample.lane0.label, sample.lane0_margin) == (row["predicted_name"], pytest.approx(row["margin"]))
        else:
            assert sample.lane0_error == row["error"]
    json.loads((tmp_path / "out" / "samples.json").read_text())
