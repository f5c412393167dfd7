"""``xplain attack``: files, exit codes, the curve per class, a sheet to print, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper
from PIL import Image

from tests.nets import FLOAT
from tests.nets import model as nets_model
from xplain.results import load


def test_what_is_found_is_written_told_and_gives_exit_code_1(xplain, model, pictures, tmp_path):
    out = tmp_path / "out"
    ran = xplain("attack", "fgsm", model, pictures, "--epsilon", "2/255,120/255", "--out", out, "--json", "--curve")
    assert ran.code == 1, ran.err
    document = ran.document
    assert document["success"] == {"2/255": 0.0, "120/255": 1.0}
    assert set(document["curve"]) == {"bright", "dark"}
    names = document["files"]
    assert {(out / name).is_file() for name in names.values()} == {True}
    found = load(out / names["numbers"])
    assert found.before.shape == (3, 16, 16, 3)
    for n, one in enumerate(document["pictures"]):
        assert one["fooled"]
        assert one["after"]["class"] == found.became[n]
        assert one["size"]["linf"] <= 120 / 255 + 1e-9
    page = (out / names["page"]).read_text()
    assert page.count("data:image/png") == 3 * (3 if found.maps is None else 5)
    assert "http" not in page.replace("http-equiv", "")


def test_nothing_found_is_exit_code_0(xplain, model, pictures, tmp_path):
    ran = xplain(
        "attack", "fgsm", model, pictures, "--epsilon", "1/255", "--explain", "none", "--out", tmp_path / "out"
    )
    assert ran.code == 0, ran.err
    assert "holds" in ran.out


def test_a_patch_comes_with_a_sheet_to_print(xplain, model, pictures, tmp_path):
    words = ("--target", "other", "--side", 6, "--steps", 3, "--places", 2, "--dpi", 120, "--millimetres", 30)
    ran = xplain("attack", "patch", model, pictures, *words, "--explain", "none", "--out", tmp_path / "out", "--json")
    assert ran.code in (0, 1), ran.err
    with Image.open(tmp_path / "out" / ran.document["files"]["print"]) as sheet:
        assert np.allclose(sheet.info["dpi"], 120, atol=0.5)


def test_noise_needs_no_picture_and_is_not_said_to_hold(xplain, model, tmp_path):
    words = ("--target", "other", "--steps", "2", "--explain", "none", "--out", tmp_path / "out")
    ran = xplain("attack", "fooling", model, *words)
    assert ran.code in (0, 1), ran.err
    assert "1 picture of noise taken for other" in ran.out
    assert "holds" not in ran.out
    ran = xplain("attack", "pgd", model, "--explain", "none", "--out", tmp_path / "none")
    assert ran.code == 2
    assert "Give at least one" in ran.err


def test_the_curve_prints_classes_whole(xplain, model, pictures, tmp_path):
    long = "a class whose name is longer than any column of twenty-four letters"
    words = ("--epsilon", "1/255", "--explain", "none", "--curve", "--out", tmp_path / "out")
    (tmp_path / "labels.txt").write_text("\n".join([f"{long} {k}" for k in range(3)]))
    ran = xplain("attack", "fgsm", model, pictures, *words, "--labels", tmp_path / "labels.txt")
    assert ran.code in (0, 1), ran.err
    assert long in ran.out.split("fooled at")[1]


def test_what_is_refused_names_the_flag(xplain, model, pictures, tmp_path):
    for words, said in (
        (("pgd", "--epsilon", "0.5/255"), "--epsilon"),
        (("pgd", "--norm", "l3"), "--norm"),
        (("fooling",), "--target"),
        (("soup",), "Unknown attack"),
        (("pgd", "--queries", "9"), "belongs to"),
    ):
        kind, *rest = words
        ran = xplain("attack", kind, model, pictures, *rest, "--out", tmp_path / "out")
        assert ran.code == 2
        assert said in ran.err
    assert not (tmp_path / "out").exists()


def test_rows_of_a_table_are_attacked_in_their_own_units(xplain, tmp_path):
    """A row's margin is 2 (age + 2 income), and linf moves both by 0.5: the first can be turned, the second cannot."""
    weights = {"w": np.array([[1, -1], [2, -2]], np.float32)}
    one = helper.make_node("MatMul", ["x", "w"], ["y"])
    onnx.save(nets_model([one], {"x": (FLOAT, ["N", 2])}, {"y": (FLOAT, ["N", 2])}, weights), tmp_path / "rows.onnx")
    (tmp_path / "rows.csv").write_text("age,income\n0.4,0.3\n1.0,0.9\n")
    asked = ("attack", "pgd", tmp_path / "rows.onnx", tmp_path / "rows.csv", "--explain", "none")
    ran = xplain(*asked, "--epsilon", "0.5", "--out", tmp_path / "out", "--json")
    assert ran.code == 1, ran.err
    assert [row["fooled"] for row in ran.document["pictures"]] == [True, False]
    assert "--epsilon" in xplain(*asked, "--out", tmp_path / "none").err  # their own units are theirs to say


def test_arrays_are_attacked_within_their_limits(xplain, tmp_path):
    weights = {"w": np.array([[1, -1]] * 6, np.float32)}
    made = nets_model(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])],
        {"x": (FLOAT, ["N", 1, 6])}, {"y": (FLOAT, ["N", 2])}, weights,
    )  # fmt: skip
    onnx.save(made, tmp_path / "series.onnx")
    series = np.full((2, 1, 6), 0.1, np.float32)
    np.save(tmp_path / "series.npy", series)
    asked = ("attack", "pgd", tmp_path / "series.onnx", tmp_path / "series.npy", "--explain", "none", "--layout", "NCT")
    ran = xplain(*asked, "--epsilon", "0.5", "--out", tmp_path / "free")
    assert ran.code == 1, ran.err  # sums of 0.6 fall below 0
    held = xplain(*asked, "--epsilon", "0.5", "--low", "0.05", "--high", "1", "--out", tmp_path / "held")
    assert held.code == 0, held.err  # none can
    (tmp_path / "bad.npy").write_bytes(b"no array")
    said = xplain("attack", "pgd", tmp_path / "series.onnx", tmp_path / "bad.npy", "--out", tmp_path / "bad").err
    assert "numpy.save" in said
