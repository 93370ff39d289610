"""Arrays in, answers out."""

from __future__ import annotations

import coregister
import numpy as np
import pytest
from conftest import same
from coregister._points import as_points


def test_the_demo_pair_is_laid_on_its_known_pose(answer, truth):
    assert answer.accepted
    assert answer.status == "accepted"
    assert answer.reason == ""
    difference = np.linalg.inv(truth) @ answer.T_target_source
    assert np.degrees(np.arccos((np.trace(difference[:3, :3]) - 1) / 2)) < 1
    assert np.linalg.norm(difference[:3, 3]) < 0.01


def test_an_answer_tells_all(answer):
    assert answer.T_target_source.shape == (4, 4)
    assert answer.T_target_source.dtype == np.float64
    assert answer.information.shape == (6, 6)
    assert np.allclose(answer.information, answer.information.T)
    assert answer.information_centre.shape == (3,)
    assert np.isfinite(answer.information_centre).all()
    assert 0.9 <= answer.confidence <= 1
    assert 0.5 < answer.overlap < 1
    assert answer.inliers > 20
    assert 0 < answer.inlier_rmse < 0.01
    assert answer.unobserved == []
    assert answer.warnings == []
    assert answer.device == "cpu"
    assert answer.timings_ms["voxel"] > 0


def test_the_function_and_the_registrar_agree(answer, source, target):
    alone = coregister.register(source=source, target=target, device="cpu", descriptor="classic", seed=7)
    assert alone.seed == 7
    assert np.array_equal(alone.T_target_source, answer.T_target_source)


def wide(points):
    return np.column_stack([points, np.full(len(points), np.nan, points.dtype)])


def strided(points):
    return np.repeat(np.repeat(points, 2, axis=0), 2, axis=1)[::2, ::2]


def reversed_twice(points):
    return np.ascontiguousarray(points[::-1, ::-1])[::-1, ::-1]


def swapped(points):
    return points.astype(points.dtype.newbyteorder())


def unaligned(points):
    memory = bytearray(points.nbytes + 1)
    array = np.frombuffer(memory, points.dtype, points.size, offset=1).reshape(points.shape)
    array[:] = points
    assert not array.flags.aligned
    return array


LAYOUTS = [np.copy, np.asfortranarray, wide, strided, reversed_twice, swapped, unaligned, np.ndarray.tolist]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_of_an_array_makes_no_difference(layout, registrar, source, target):
    # Lists of numbers are float64, so all are.
    expected = registrar.register(source=source.astype(float), target=target.astype(float))
    of_layout = registrar.register(source=layout(source.astype(float)), target=layout(target.astype(float)))
    assert same(expected, of_layout)


@pytest.mark.parametrize("layout", LAYOUTS[:-1])
def test_nor_does_it_in_single_precision(layout, registrar, answer, source, target):
    assert same(answer, registrar.register(source=layout(source), target=layout(target)))


def test_arrays_are_taken_as_they_are_and_never_written_to(registrar, answer, source, target):
    for array in (source, source[::3], np.asfortranarray(source), wide(source)):
        assert np.shares_memory(as_points(array, "source"), array)
    assert not source.flags.writeable
    before = source.copy(), target.copy()
    assert same(answer, registrar.register(source=before[0], target=before[1]))
    assert np.array_equal(before[0], source)
    assert np.array_equal(before[1], target)


def test_memory_mapped_arrays(tmp_path, registrar, answer, source, target):
    np.save(tmp_path / "source.npy", source)
    mapped = np.load(tmp_path / "source.npy", mmap_mode="r")
    assert np.shares_memory(as_points(mapped, "source"), mapped)
    assert same(answer, registrar.register(source=mapped, target=target))


def test_large_coordinates_keep_their_detail_in_double_precision(registrar, answer, source, target):
    offset = np.array([4.5e5, 5.4e6, 300.0])
    far = registrar.register(source=source.astype(float), target=target + offset)
    assert np.allclose(far.T_target_source[:3, 3] - offset, answer.T_target_source[:3, 3], atol=1e-3)


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (lambda points: points.T, r"source cloud has shape \(3, 15164\).*its transpose, points\.T"),
        (lambda points: wide(points).T, r"has shape \(4, 15164\).*points\.T"),
        (lambda points: points[:, :2], r"has shape \(15164, 2\), N×3 or N×4"),
        (lambda points: points[0], r"has shape \(3,\)"),
        (lambda points: points[:15000].reshape(100, 150, 3), r"points\.reshape\(-1, 3\)"),
        (lambda points: points.view([(axis, "f4") for axis in "xyz"]), r"structured_to_unstructured"),
        (lambda points: points.astype(int), r"dtype int64.*points\.astype\(np\.float32\)"),
        (lambda points: points.astype(np.float16), r"dtype float16"),
        (lambda points: points.astype(complex), r"dtype complex128"),
        (lambda points: points[:0], r"source cloud has 0 usable points"),
        (lambda points: points[:1], r"source cloud has 1 usable points"),
        (lambda points: points[:49], r"source cloud has 49 usable points.*at least 50"),
        (lambda points: np.full_like(points, np.nan), r"has 0 usable points"),
        (lambda points: np.ones_like(points), r"no extent"),
        (lambda points: None, r"shape \(\)"),
    ],
)
def test_what_cannot_be_registered_is_an_error_with_a_remedy(change, remedy, registrar, source, target):
    with pytest.raises(coregister.CloudError, match=remedy) as caught:
        registrar.register(source=change(source), target=target)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(coregister.CloudError, match="target cloud"):
        registrar.register(source=source, target=change(source))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "gpu"}, r'device must be "auto", "cpu", "cuda" or "cuda:N", not \'gpu\''),
        ({"device": 0}, "device must be"),
        ({"descriptor": "fancy"}, "descriptor must be"),
        ({"azimuth": None}, "azimuth must be"),
        ({"voxel": -1.0}, "voxel size must be a positive number, not -1"),
        ({"voxel": "fine"}, "voxel must be"),
        ({"gravity": (0, 0, 0)}, "gravity axis must be three numbers, not all zero"),
        ({"gravity": (0, 1)}, "gravity must be"),
        ({"gravity": "up"}, "gravity must be"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"threads": 0}, "threads must be"),
        ({"threads": 1025}, "threads must be a whole number from 1 to 1024"),
        ({"refine": "no"}, "refine must be"),
        ({"max_gpu_memory": -5}, "max_gpu_memory must be"),
        ({"weights": "a.safetensors", "descriptor": "classic"}, "weights are for the learned descriptor"),
    ],
)
def test_settings_are_checked_at_once(settings, message):
    with pytest.raises(coregister.ConfigError, match=message):
        coregister.Registrar(**settings)


def test_settings_are_those_of_the_config():
    assert set(coregister.Settings.__annotations__) == set(coregister.Config.__dataclass_fields__)
    registrar = coregister.Registrar(voxel=0.01, gravity=(0, 0, 1), threads=1, max_gpu_memory=1 << 30)
    assert registrar.config == coregister.Config(voxel=0.01, gravity=(0, 0, 1), threads=1, max_gpu_memory=1 << 30)
    assert coregister.Registrar.of(registrar.config).config == registrar.config


def test_files_and_devices_that_are_not_there(tmp_path, source, target):
    with pytest.raises(coregister.FileError, match=r"cannot read .*none\.safetensors"):
        coregister.register(source=source, target=target, device="cpu", weights=tmp_path / "none.safetensors")
    with pytest.raises(coregister.DeviceError, match=r"cuda:99|CUDA|NVIDIA"):
        coregister.register(source=source, target=target, device="cuda:99")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_files_are_read_as_precisely_as_they_are_written(dtype, tmp_path, source):
    path = tmp_path / "cloud.npy"
    np.save(path, source.astype(dtype) + (5.4e6 if dtype is np.float64 else 0))
    points = coregister.read_cloud(path)
    assert points.dtype == dtype
    assert np.allclose(points, np.load(path), rtol=0, atol=0 if dtype is np.float32 else 1e-6)
    with pytest.raises(coregister.FileError, match=r"cannot read .*none\.ply") as caught:
        coregister.read_cloud(tmp_path / "none.ply")
    assert isinstance(caught.value, OSError)


def test_a_closed_registrar_says_so(source, target):
    with coregister.Registrar(device="cpu") as registrar:
        pass
    with pytest.raises(coregister.Error, match="closed"):
        registrar.register(source=source, target=target)


def test_prepared_clouds_give_the_same_answer(registrar, answer, source, target):
    prepared = registrar.prepare(target)
    assert len(prepared) == len(target)
    assert np.shares_memory(prepared.points, target)
    for _ in range(2):
        assert same(answer, registrar.register(source=source, target=prepared))
    assert same(answer, registrar.register(source=registrar.prepare(source), target=prepared))
    with pytest.raises(coregister.CloudError, match="given cloud has 3 usable points"):
        registrar.prepare(source[:3])
