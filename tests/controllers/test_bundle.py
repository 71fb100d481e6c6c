"""Bundles that must not reach a robot."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from taustack.cli import main
from taustack.config import RobotConfig, load_robot
from taustack.controllers.bundle import load_bundle
from taustack.errors import BadInput, BundleRefused


def rehash(folder: Path, edit: Callable[[dict[str, Any]], Any] = lambda _: None) -> None:
    """Make the manifest agree with the files again, as an attacker or a careless script would."""
    path = folder / "manifest.yaml"
    data = yaml.safe_load(path.read_text())
    data["files"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in data["files"]}
    edit(data)
    path.write_text(yaml.safe_dump(data, sort_keys=False))


def test_the_shipped_bundle_is_verified(robot: RobotConfig, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify", str(project / "robots/panda/bundle")]) == 0
    assert capsys.readouterr().out.startswith("ok: ")
    assert main(["models", "verify", str(project / "robots/panda/bundle_lag")]) == 0


def test_a_flipped_byte_names_the_file_and_both_hashes(bundle_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bundle_copy / "dynamics.onnx"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert main(["models", "verify", str(bundle_copy)]) == 2
    said = capsys.readouterr().err
    assert "dynamics.onnx" in said
    assert before in said
    assert hashlib.sha256(bytes(data)).hexdigest() in said


@pytest.mark.parametrize("name", ["dynamics.onnx", "plan_mppi.onnx", "golden.npz", "manifest.yaml"])
def test_a_missing_file_is_named(bundle_copy: Path, robot: RobotConfig, name: str) -> None:
    (bundle_copy / name).unlink()
    with pytest.raises(BadInput, match=name):
        load_bundle(bundle_copy, robot)


def test_permuted_joint_names_are_refused(bundle_copy: Path, robot: RobotConfig) -> None:
    rehash(bundle_copy, lambda d: d["contract"]["joint_names"].reverse())
    with pytest.raises(BundleRefused, match=r"contract\.joint_names"):
        load_bundle(bundle_copy, robot)


def test_joint_names_in_the_graph_must_agree_with_the_manifest(bundle_copy: Path, robot: RobotConfig) -> None:
    proto = onnx.load(bundle_copy / "plan_mppi.onnx")
    for entry in proto.metadata_props:
        entry.value = entry.value.replace("panda_joint1", "panda_jointX")
    onnx.save(proto, bundle_copy / "plan_mppi.onnx")
    rehash(bundle_copy)
    with pytest.raises(BundleRefused, match=r"plan_mppi.onnx: contract.joint_names"):
        load_bundle(bundle_copy, robot)


def test_a_bundle_for_other_gains_is_refused(bundle_copy: Path, robot_copy: Callable[..., Path]) -> None:
    robot = load_robot(robot_copy(lambda d: d["joints"][0].update(stiffness=100.0)))
    with pytest.raises(BundleRefused, match=r"contract\.stiffness"):
        load_bundle(bundle_copy, robot)


def test_another_state_layout_is_refused(bundle_copy: Path, robot: RobotConfig) -> None:
    rehash(bundle_copy, lambda d: d.update(state_layout=["q", "dq"]))
    with pytest.raises(BundleRefused, match="state_layout"):
        load_bundle(bundle_copy, robot)


def test_a_graph_of_other_shapes_is_refused(bundle_copy: Path, robot: RobotConfig) -> None:
    proto = onnx.load(bundle_copy / "plan_mppi.onnx")
    noise = next(i for i in proto.graph.input if i.name == "noise")
    noise.type.tensor_type.shape.dim[0].dim_value = 30
    onnx.save(proto, bundle_copy / "plan_mppi.onnx")
    rehash(bundle_copy)
    with pytest.raises(BundleRefused, match=r"plan_mppi.onnx"):
        load_bundle(bundle_copy, robot)


def poison(path: Path) -> None:
    proto = onnx.load(path)
    weight = max(proto.graph.initializer, key=lambda w: len(w.raw_data))
    values = np.frombuffer(weight.raw_data, dtype=np.float32).copy()
    values[:] = np.nan
    weight.raw_data = values.tobytes()
    onnx.save(proto, path)


def test_nan_weights_are_refused(bundle_copy: Path, robot: RobotConfig) -> None:
    poison(bundle_copy / "dynamics.onnx")
    rehash(bundle_copy)
    with pytest.raises(BundleRefused, match=r"dynamics.onnx: mean: got a difference of nan"):
        load_bundle(bundle_copy, robot)


def test_golden_outputs_that_are_nan_do_not_excuse_nan_weights(bundle_copy: Path, robot: RobotConfig) -> None:
    poison(bundle_copy / "dynamics.onnx")
    with np.load(bundle_copy / "golden.npz") as arrays:
        golden = {key: arrays[key] for key in arrays.files}
    golden["dynamics/mean"][:] = np.nan
    np.savez(bundle_copy / "golden.npz", **golden)
    rehash(bundle_copy)
    with pytest.raises(BundleRefused, match="NaN or infinite"):
        load_bundle(bundle_copy, robot)


def test_data_outside_the_file_is_refused_before_it_is_parsed(bundle_copy: Path, robot: RobotConfig, tmp_path: Path) -> None:
    proto = onnx.load(bundle_copy / "dynamics.onnx")
    onnx.external_data_helper.convert_model_to_external_data(proto, location="weights.bin", size_threshold=1024)
    onnx.save(proto, tmp_path / "outside.onnx")
    shutil.copy(tmp_path / "outside.onnx", bundle_copy / "dynamics.onnx")
    rehash(bundle_copy)
    with pytest.raises(BundleRefused, match=r"dynamics.onnx: external data"):
        load_bundle(bundle_copy, robot)


@pytest.mark.parametrize("name", ["../robot.yaml", "/etc/hostname"])
def test_a_file_outside_the_folder_is_refused(bundle_copy: Path, robot: RobotConfig, name: str) -> None:
    def edit(data: dict[str, Any]) -> None:
        data["files"][name] = "0" * 64

    rehash(bundle_copy, edit)
    with pytest.raises(BundleRefused, match="leaves the folder"):
        load_bundle(bundle_copy, robot)


def test_a_link_in_the_folder_is_refused(bundle_copy: Path, robot: RobotConfig, tmp_path: Path) -> None:
    path = bundle_copy / "dynamics.onnx"
    path.rename(tmp_path / "elsewhere.onnx")
    path.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(BundleRefused, match="leaves the folder"):
        load_bundle(bundle_copy, robot)


def test_pickled_arrays_are_refused(bundle_copy: Path, robot: RobotConfig) -> None:
    np.savez(bundle_copy / "golden.npz", trap=np.array([{"a": 1}], dtype=object))
    rehash(bundle_copy)
    with pytest.raises(BundleRefused, match="pickled"):
        load_bundle(bundle_copy, robot)
