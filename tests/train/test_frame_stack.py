"""frame_stack: against the textbook, the published code's numbers, laws, every dtype and stride, gradients, errors."""

from __future__ import annotations

import subprocess
import sys

import frame_reference as reference
import ml_dtypes
import numpy as np
import pytest
import torch
from devices import EMULATED, CudaArray, on_device, to_host, torch_on_device
from hypothesis import given
from hypothesis import strategies as st
from only_dlpack import OnlyDlpack

from vltr_eval._base import arrays
from vltr_train import frame_stack
from vltr_train.ops import frames

FLOATS = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32), np.dtype(np.float64)]
TARGETS = [np.dtype(name) for name in ("bool", "uint8", "int8", "uint16", "int64", "uint64")] + FLOATS


def make(seed=0, num_rows=5, num_frames=7, dims=6, classes=130, dtype=np.float32, target_dtype=np.float32):
    """features, targets, rap, partner: a label or two a row, one row without any."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((num_rows, num_frames, dims)).astype(dtype)
    targets = np.zeros((num_rows, classes), target_dtype)
    for row in range(num_rows - 1):
        targets[row, rng.choice(classes, min(classes, 1 + row % 2), replace=False)] = 1
    return features, targets, rng.random(classes, np.float32), rng.integers(0, num_rows, num_rows)


def run(device, features, targets, rap, partner, clip_length, **options):
    """frame_stack on a device, as numpy arrays."""
    arrays = (on_device(array, device) for array in (features, targets))
    others = (None if array is None else on_device(array, device) for array in (rap, partner))
    return tuple(to_host(array) for array in frame_stack(*arrays, *others, clip_length, **options))


def assert_same(got, expected):
    for name, a, b in zip(("features", "targets", "beta"), got, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), name
        assert a.tobytes() == b.tobytes(), name


# Against the textbook


@pytest.mark.parametrize("order", ["partner_first", "own_first"])
@pytest.mark.parametrize("eps_scale", ["code", "paper"])
@pytest.mark.parametrize("multilabel_rap", ["sum", "mean", "min"])
def test_options_mean_what_the_textbook_says(device, order, eps_scale, multilabel_rap):
    options = {"order": order, "eps_scale": eps_scale, "multilabel_rap": multilabel_rap}
    inputs = make(classes=300)
    assert_same(run(device, *inputs, 9, **options), reference.frame_stack(*inputs, 9, **options))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("target_dtype", TARGETS, ids=str)
def test_every_dtype_is_stacked_and_mixed(device, dtype, target_dtype):
    inputs = make(dtype=dtype, target_dtype=target_dtype)
    assert_same(run(device, *inputs, 7), reference.frame_stack(*inputs, 7))


@given(st.data())
def test_any_shape_is_stacked_as_the_textbook_does(device, data):
    integers = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    num_rows, num_frames = integers(1, 6), integers(1, 9)
    inputs = make(integers(0, 99), num_rows, num_frames, integers(1, 9), integers(1, 400))
    num_mixed = data.draw(st.none() | st.integers(0, num_rows))
    length = num_frames if num_mixed is not None and num_mixed < num_rows else integers(1, 12)
    partner = inputs[3] % max(1, num_rows if num_mixed is None else num_mixed)
    inputs = (*inputs[:3], partner)
    expected = reference.frame_stack(*inputs, length, num_mixed=num_mixed)
    assert_same(run(device, *inputs, length, num_mixed=num_mixed), expected)


# Numbers of the published code


def published(rap_own, rap_other, device, **options):
    """Two videos of 60 frames that are their own frame numbers; 1,004 classes, the first has classes 0 and 1."""
    features = np.stack([np.arange(60), 100 + np.arange(60)]).astype(np.float32)[:, :, None]
    targets = np.zeros((2, 1004), np.float32)
    targets[0, :2] = targets[1, 2] = 1
    rap = np.zeros(1004, np.float32)
    rap[:2], rap[2] = rap_own, rap_other
    return run(device, features, targets, rap, np.array([1, 0]), 60, **options)


def test_a_known_sample_gives_way_to_its_partner(device):
    features, targets, beta = published([0.2, 0.4], 0.001, device)
    assert beta[0] == pytest.approx(0.99834, abs=1e-5)
    assert (features[0, :, 0] >= 100).sum() == 59
    assert features[0, -1, 0] == 0
    assert targets[0, :3] == pytest.approx([0.0017, 0.0017, 0.9983], abs=5e-5)


def test_samples_that_nobody_knows_share_alike(device):
    features, targets, beta = published([0, 0], 0, device)
    assert list(beta) == [0.5, 0.5]
    assert (features[0, :, 0] >= 100).sum() == 30
    assert list(targets[0, :3]) == [0.5, 0.5, 0.5]


def test_the_threshold_is_of_the_score_divided_by_the_classes(device):
    assert list(published([0.01, 0], 0, device)[2]) == [0.5, 0.5]
    assert list(published([0.01, 0], 0, device, eps_scale="paper")[2]) == [1, 0]
    assert list(published([0.0101, 0], 0, device)[2]) == [1, 0]


def test_a_shared_label_stays_whole(device):
    targets = np.ones((2, 3), np.float32)
    assert (run(device, np.ones((2, 4, 1), np.float32), targets, np.zeros(3), np.array([1, 0]), 4)[1] == 1).all()


@pytest.mark.parametrize(
    ("beta", "first"), [(7 / 60, [0, 9, 19, 29, 39, 49, 59]), (0.05, [0, 29, 59]), (0.034, [0, 59]), (0.017, [0])]
)
def test_frames_are_spread_as_published(device, beta, first):
    features = np.arange(60, dtype=np.float32).reshape(1, 60, 1).repeat(2, axis=0)
    share = np.nextafter(np.float32(beta), np.float32(1))
    out = run(device, features, np.zeros((2, 1)), None, np.array([1, 0]), 60, beta=float(share))[0]
    assert list(out[0, : len(first), 0]) == first
    assert list(out[0, len(first) :, 0]) == reference.spread(60 - len(first), 60)


# Laws


def test_equal_batches_in_another_order_give_equal_clips(device):
    features, targets, rap, partner = make(num_rows=6)
    order = np.array([4, 2, 0, 5, 1, 3])
    new_row = np.argsort(order)
    plain = run(device, features, targets, rap, partner, 7)
    moved = run(device, features[order], targets[order], rap, new_row[partner[order]], 7)
    assert_same(moved, tuple(array[order] for array in plain))


def test_a_row_depends_on_itself_and_its_partner_alone(device):
    features, targets, rap, partner = make()
    partner[0] = 3
    whole = run(device, features, targets, rap, partner, 7)
    pair = [0, 3]
    alone = run(device, features[pair], targets[pair], rap, np.array([1, 1]), 7)
    assert_same(tuple(array[:1] for array in alone), tuple(array[:1] for array in whole))


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_nothing(threads):
    inputs = make(num_rows=9, dims=2048)
    assert_same(run("cpu", *inputs, 7, threads=threads), run("cpu", *inputs, 7, threads=3))


def test_devices_give_the_same_bits(cuda):
    """Labels that are no round numbers, running AP of any size, and more classes than a block sums at once."""
    rng = np.random.default_rng(5)
    features, _, _, partner = make(num_rows=8, dims=33)
    targets = (rng.random((8, 2100)) * (rng.random((8, 2100)) < 0.3)).astype(np.float32)
    rap = 10 ** rng.uniform(-8, 8, 2100)
    assert_same(run(cuda, features, targets, rap, partner, 11), run("cpu", features, targets, rap, partner, 11))


def test_clips_of_many_bytes_are_streamed_unharmed():
    """Large outputs go past the caches, by another way of copying; odd sizes and addresses too."""
    features, targets, rap, partner = make(num_rows=40, num_frames=60, dims=2047)
    out = frame_stack(features, targets, rap, partner, 60)
    assert_same(tuple(out), reference.frame_stack(features, targets, rap, partner, 60))


def test_nan_of_a_class_that_nobody_has_is_harmless(device):
    features, targets, rap, partner = make()
    holes = np.where(targets.any(axis=0), rap, np.float32(np.nan))
    assert_same(run(device, features, targets, holes, partner, 7), run(device, features, targets, rap, partner, 7))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_say_nothing_give_one_half(device, bad):
    features, targets, rap, partner = make()
    rap[targets[0] != 0] = bad
    assert run(device, features, targets, rap, partner, 7)[2][0] == 0.5


def test_class_frequencies_may_stand_for_running_ap(device):
    features, targets, _, partner = make()
    counts = np.arange(1, targets.shape[1] + 1)
    got = run(device, features, targets, counts, partner, 7)
    assert_same(got, reference.frame_stack(features, targets, counts, partner, 7))


def test_beta_may_be_given(device):
    inputs = make()
    constant = run(device, *inputs, 7, beta=0.5)
    assert_same(constant, reference.frame_stack(*inputs, 7, beta=0.5))
    assert_same(run(device, *inputs, 7, beta=0), reference.frame_stack(*inputs, 7, beta=0))
    shares = np.float32([0, 0.25, 1, 0.7, 0.5])
    features, targets, _, partner = inputs
    given = frame_stack(
        on_device(features, device),
        on_device(targets, device),
        None,
        on_device(partner, device),
        7,
        beta=on_device(shares, device),
    )
    expected = reference.frame_stack(features, targets, None, partner, 7, beta=shares)
    assert_same(tuple(to_host(array) for array in given), expected)


def test_a_constant_beta_needs_no_memory_of_its_own(device, monkeypatch):
    """On a device that would be filled by a copy, for which the call would wait."""
    made = []

    def empty_like(*arguments):
        made.append(arguments)
        return arrays.empty_like(*arguments)

    monkeypatch.setattr(frames, "empty_like", empty_like)
    run(device, *make(), 7, beta=0.5)
    assert len(made) == 3  # the results


def test_rows_that_are_not_mixed_stay_as_they_are(device):
    features, targets, rap, _ = make()
    got = run(device, features, targets, rap, np.array([1, 0]), 7, num_mixed=2)
    assert (got[0][2:].tobytes(), got[1][2:].tobytes()) == (features[2:].tobytes(), targets[2:].tobytes())
    assert list(got[2][2:]) == [0, 0, 0]
    nothing = run(device, features, targets, rap, np.zeros(0, np.int64), 7, num_mixed=0)
    assert_same(nothing, (features, targets, np.zeros(5, np.float32)))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_strided_inputs_are_read_where_they_are(device, dtype):
    features, targets, rap, partner = make(dtype=dtype)
    expected = reference.frame_stack(features, targets, rap, partner, 7)
    room = np.zeros((10, 14, 9), dtype)
    views = room[::-2, ::2, 1:7], np.zeros((5, 2 * 130), np.float32)[:, ::-2], np.zeros(390, np.float32)[::3]
    wide_partner = np.zeros((5, 3), np.int32)[:, 1]
    for view, values in zip((*views, wide_partner), (features, targets, rap, partner), strict=True):
        view[...] = values
    assert_same(run(device, *views, wide_partner, 7), expected)
    as_columns = np.asfortranarray(targets), np.broadcast_to(np.float32(0.5), rap.shape)
    flat = reference.frame_stack(features, targets, as_columns[1], partner, 7)
    assert_same(run(device, features, *as_columns, partner, 7), flat)


def test_results_come_in_the_library_of_the_inputs():
    inputs = make()
    out = frame_stack(*(torch.from_numpy(array) for array in inputs), 7)
    assert all(isinstance(array, torch.Tensor) for array in out)
    assert_same(tuple(array.numpy() for array in out), tuple(frame_stack(*inputs, 7)))


# Gradients


def torch_inputs(device, dtype=torch.float64, num_rows=4, num_frames=5):
    features, targets, rap, partner = make(num_rows=num_rows, num_frames=num_frames, dims=3, classes=6)
    tensors = (torch.from_numpy(features).to(dtype), *map(torch.from_numpy, (targets, rap, partner)))
    return [torch_on_device(tensor, device) for tensor in tensors]


@pytest.mark.parametrize(
    ("length", "options"),
    [(5, {}), (5, {"num_mixed": 3}), (9, {"order": "own_first"}), (2, {"beta": 0.5}), (1, {"multilabel_rap": "mean"})],
)
def test_gradients_are_those_of_the_function(device, length, options):
    if device == "cuda" and EMULATED:
        pytest.skip("gradcheck makes tensors of its own, which are not on the emulated device")
    features, targets, rap, partner = torch_inputs(device)
    partner = partner % options.get("num_mixed", 4)

    def stacked(values):
        return frame_stack(values, targets, rap, partner, length, **options).features

    features.requires_grad_()
    assert torch.autograd.gradcheck(stacked, (features,))
    assert torch.autograd.gradgradcheck(stacked, (features,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gradients_sum_in_order_of_sample_and_slot(device, dtype):
    """In float, rounded once: the same bits as adding one slot after another."""
    features, targets, rap, _ = torch_inputs(device, dtype)
    partner = torch_on_device(torch.tensor([1, 1, 1, 0]), device)
    features.requires_grad_()
    out = frame_stack(features, targets, rap, partner, 12)
    gradient = torch.randn(out.features.shape, generator=torch.Generator().manual_seed(0)).to(out.features)
    (got,) = torch.autograd.grad(out.features, features, gradient)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    expected = torch.zeros(features.shape, dtype=wide)
    for i, share in enumerate(out.beta.tolist()):
        theirs = int(np.float32(share) * np.float32(12))
        rows = [(int(partner[i]), t) for t in reference.spread(theirs, 5)] + [
            (i, t) for t in reference.spread(12 - theirs, 5)
        ]
        for slot, (row, frame) in enumerate(rows):
            expected[row, frame] += gradient[i, slot].to(wide).cpu()
    assert to_host(got).tobytes() == to_host(expected.to(dtype)).tobytes()


def test_a_gradient_of_any_strides_is_taken(device):
    features, targets, rap, partner = torch_inputs(device)
    features.requires_grad_()
    frame_stack(features, targets, rap, partner, 5).features.sum().backward()
    assert features.grad.sum() == 4 * 5 * 3
    flipped = torch.autograd.grad(frame_stack(features, targets, rap, partner, 5).features.mT.flip(0).sum(), features)
    assert torch.equal(flipped[0], features.grad)


def test_a_gradient_of_any_layout_is_taken():
    features, targets, rap, partner = torch_inputs("cpu")
    out = frame_stack(features.requires_grad_(), targets, rap, partner, 5).features
    upstream = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(0))
    for gradient in (upstream.to_sparse(), upstream.permute(2, 0, 1).contiguous().permute(1, 2, 0), lazily(upstream)):
        (got,) = torch.autograd.grad(out, features, gradient, retain_graph=True)
        assert torch.equal(got, torch.autograd.grad(out, features, upstream, retain_graph=True)[0])


def lazily(tensor):
    """The same numbers as a view that negates them as they are read."""
    return torch.complex(torch.zeros_like(tensor), -tensor).conj().imag


PARTNERS = {
    "list": lambda values: values.tolist(),
    "numpy": lambda values: values.copy(),
    "strided": lambda values: values[::-1].copy()[::-1],
    "uint16": lambda values: values.astype(np.uint16),
    "read-only": lambda values: np.frombuffer(values.tobytes(), values.dtype),
    "DLPack": lambda values: OnlyDlpack(values.copy()),
    "torch": lambda values: torch.from_numpy(values.copy()),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", PARTNERS)
def test_partners_of_any_library_have_gradients_that_later_changes_do_not_touch(device, kind):
    features, targets, rap, partner = torch_inputs(device)
    features.requires_grad_()
    values = to_host(partner)
    weights = torch_on_device(torch.arange(4 * 5 * 3, dtype=torch.float64).reshape(4, 5, 3), device)
    expected = torch.autograd.grad((frame_stack(features, targets, rap, partner, 5).features * weights).sum(), features)
    given = CudaArray(values) if device == "cuda" else PARTNERS[kind](values)
    out = frame_stack(features, targets, rap, given, 5).features
    if kind in ("numpy", "strided", "torch") and device == "cpu":
        given[:] = 0
    assert torch.equal(torch.autograd.grad((out * weights).sum(), features)[0], expected[0])


def test_a_result_that_is_changed_in_place_keeps_its_gradient():
    features, targets, rap, partner = torch_inputs("cpu")
    out = frame_stack(features.requires_grad_(), targets, rap, partner, 5).features
    out.mul_(2).sum().backward()
    assert features.grad.sum() == 2 * 4 * 5 * 3


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, of make_dual
def test_forward_mode_is_refused():
    features, targets, rap, partner = torch_inputs("cpu")
    with torch.autograd.forward_ad.dual_level():
        for name in ("features", "targets"):
            inputs = {"features": features, "targets": targets}
            inputs[name] = torch.autograd.forward_ad.make_dual(inputs[name], torch.ones_like(inputs[name]))
            with pytest.raises(NotImplementedError, match=f"{name}: expected a tensor without tangent"):
                frame_stack(**inputs, rap=rap, partner=partner, clip_length=5)


def test_labels_and_beta_have_no_gradient(device):
    features, targets, rap, partner = torch_inputs(device)
    out = frame_stack(features.requires_grad_(), targets, rap, partner, 5)
    assert (out.features.requires_grad, out.targets.requires_grad, out.beta.requires_grad) == (True, False, False)
    with torch.no_grad():
        assert not frame_stack(features, targets, rap, partner, 5).features.requires_grad


def test_beta_that_is_changed_before_the_backward_pass_is_an_error(device):
    features, targets, rap, partner = torch_inputs(device)
    out = frame_stack(features.requires_grad_(), targets, rap, partner, 5)
    out.beta.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.features.sum().backward()


# Errors


BAD = [
    ({"features": np.zeros((5, 7), np.float32)}, r"features: expected shape \(B, T, D\) without a 0, got \(5, 7\)"),
    ({"features": np.zeros((5, 0, 6), np.float32)}, "features: expected shape"),
    (
        {"features": np.zeros((5, 7, 6), np.int32)},
        "features: expected float16, .* or float64, got int32",
    ),
    ({"features": np.zeros((5, 7, 12), np.float32)[:, :, ::2]}, r"features: .* pass np.ascontiguousarray\(features\)"),
    ({"features": torch.zeros(5, 6, 7).mT}, r"features: .* pass features.contiguous\(\)"),
    ({"features": np.zeros((5, 65537, 1), np.float16)}, "features: expected at most 65536 frames a clip"),
    ({"targets": np.zeros((4, 130))}, r"targets: expected shape \(5, C\), got \(4, 130\)"),
    ({"rap": np.zeros(131)}, r"rap: expected shape \(130,\) as targets has classes, got \(131,\)"),
    ({"rap": None}, "rap: expected an array where no beta is given, got None"),
    ({"partner": np.zeros(5)}, "partner: expected integers, got float64"),
    ({"partner": np.zeros(4, int)}, r"partner: expected shape \(5,\) or \(5,\), got \(4,\)"),
    ({"partner": np.array([0, 1, 2, 5, 1])}, "partner: expected a row from 0 to 4, got 5 at row 3"),
    ({"partner": np.array([0, -1, 2, 5, 1])}, "partner: expected a row from 0 to 4, got -1 at row 1"),
    ({"partner": np.array([0, 2, 0, 0, 0]), "num_mixed": 2}, "partner: expected a row from 0 to 1, got 2 at row 1"),
    ({"clip_length": 0}, "clip_length: expected an integer from 1 to 65536, got 0"),
    ({"clip_length": 7.0}, "clip_length: expected an integer, got 7.0"),
    ({"clip_length": 8, "num_mixed": 2}, "clip_length: expected the 7 frames of features, where only 2 of 5 rows"),
    ({"num_mixed": 6}, "num_mixed: expected an integer from 0 to 5, got 6"),
    ({"beta": 1.5}, "beta: expected from 0 to 1, got 1.5"),
    ({"beta": float("nan")}, "beta: expected from 0 to 1, got nan"),
    ({"beta": np.float32([0, 0, np.nan, 0, 0])}, "beta: expected from 0 to 1, got nan at row 2"),
    ({"beta": np.zeros(5)}, r"beta: expected a number or float32 of shape \(5,\), got float64 of shape \(5,\)"),
    ({"multilabel_rap": "max"}, "multilabel_rap: expected 'sum' or 'mean' or 'min', got 'max'"),
    ({"eps_scale": "none"}, "eps_scale: expected 'paper' or 'code', got 'none'"),
    ({"order": "mixed"}, "order: expected 'own_first' or 'partner_first', got 'mixed'"),
    ({"threads": 0}, "threads: expected"),
    ({"targets": torch.zeros(5, 130, requires_grad=True)}, "targets: expected an array without gradient"),
]


@pytest.mark.parametrize(("changes", "sentence"), BAD, ids=[sentence[:40] for _, sentence in BAD])
def test_what_does_not_fit_is_one_sentence(changes, sentence):
    names = ("features", "targets", "rap", "partner")
    arguments = dict(zip(names, make(), strict=True)) | {"clip_length": 7} | changes
    with pytest.raises((ValueError, TypeError), match=sentence) as caught:
        frame_stack(**arguments)
    assert "\n" not in str(caught.value)


def test_arrays_in_different_places_are_refused(cuda):
    features, targets, rap, partner = make()
    with pytest.raises(ValueError, match="targets: expected an array on cuda:0 as features, got one in CPU memory"):
        frame_stack(on_device(features, cuda), targets, rap, partner, 7)


def test_a_bad_partner_spoils_its_row_on_a_device(cuda):
    features, targets, rap, partner = make()
    partner[:] = [1, 5, -1, 2**62, 0]
    features_out, targets_out, beta = run(cuda, features, targets, rap, partner, 7)
    assert list(np.isnan(beta)) == [False, True, True, True, False]
    for out in (features_out.reshape(5, -1), targets_out):
        assert list(np.isnan(out).all(axis=1)) == [False, True, True, True, False]
        assert not np.isnan(out[[0, 4]]).any()


def test_a_dtype_that_numpy_lacks_is_one_sentence():
    """It learns the name bfloat16 from ml_dtypes."""
    code = """
import numpy as np, torch, vltr_train
class OnlyDlpack:
    def __init__(self, tensor): self.tensor = tensor
    def __dlpack__(self, **options): return self.tensor.__dlpack__(**options)
    def __dlpack_device__(self): return self.tensor.__dlpack_device__()
clips, labels = torch.zeros(1, 1, 1), torch.ones(1, 1)
for change in (lambda: (OnlyDlpack(clips.bfloat16()), labels), lambda: (clips, OnlyDlpack(labels.bfloat16()))):
    try:
        vltr_train.frame_stack(*change(), [1.0], [0], 1)
    except TypeError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd="/")
    sentence = "{}: expected a dtype that numpy has, got bfloat16; pass a tensor of torch\n"
    assert done.stdout == sentence.format("features") + sentence.format("targets"), done.stderr


def test_out_is_filled_and_returned(device):
    clips, targets = np.random.default_rng(0).random((4, 6, 5), np.float32), np.eye(4, dtype=np.float32)
    rap, partner = np.float32([0.1, 0.2, 0.3, 0.4]), np.array([1, 0, 3, 2])
    wanted = frame_stack(clips, targets, rap, partner, 6).features
    out = on_device(np.full((4, 6, 5), np.nan, np.float32), device)
    inputs = [on_device(array, device) for array in (clips, targets, rap, partner)]
    assert frame_stack(*inputs, 6, out=out).features is out
    np.testing.assert_array_equal(to_host(out), wanted)


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        (np.zeros((2, 3, 5), np.float64), r"^out: expected float32 as features, got float64$"),
        (
            np.zeros((2, 3, 4), np.float32),
            r"^out: expected floats of shape \(2, 3, 5\), got float32 of shape \(2, 3, 4\)$",
        ),
    ],
)
def test_out_that_does_not_fit_is_refused(out, sentence):
    with pytest.raises(ValueError, match=sentence):
        frame_stack(np.zeros((2, 3, 5), np.float32), np.eye(2), [0.1, 0.2], [1, 0], 3, out=out)
    assert not out.any()


def test_out_and_gradients_exclude_each_other():
    clips = torch.zeros(2, 3, 5, requires_grad=True)
    with pytest.raises(ValueError, match=r"^out: expected None where features require a gradient, got an array$"):
        frame_stack(clips, torch.eye(2), torch.ones(2), torch.tensor([1, 0]), 3, out=torch.zeros(2, 3, 5))
