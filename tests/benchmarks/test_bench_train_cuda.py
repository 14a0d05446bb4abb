"""bench_train_cuda.py on its smallest input, without a GPU: it trains, groups kernels, and times steps of methods."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
import bench_train_cuda
import torch
from _lib import device_data, method_steps
from _lib.device_data import SHAPES
from _lib.method_steps import StageSteps, measure_methods, method_section, seconds_between, short_settings, watched
from bench_train_cuda import ELEMENTWISE, KINDS, MODEL, OPTIMIZER, OTHER, PRODUCTS

from vltr_train.methods import all_methods, find_method

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_method(monkeypatch):
    monkeypatch.setattr(method_steps, "all_methods", lambda: ("bce",))
    monkeypatch.setattr(method_steps, "VARIANTS", ())


def run(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["bench_train_cuda.py", "--device", "cpu", *arguments])
    return bench_train_cuda.main()


def test_every_kind_is_trained_and_profiled(monkeypatch, tmp_path, capsys):
    out = tmp_path / "train.md"
    assert run(monkeypatch, "--scale", "0.0005", "--out", str(out)) == 0
    text = out.read_text()
    assert capsys.readouterr().out == text
    assert text.startswith("a mixed epoch of 201 videos: ")
    assert text.partition("\n")[0].count(";") == len(KINDS) - 1
    for group in (PRODUCTS, ELEMENTWISE, OPTIMIZER, "vltr: frame_stack", "vltr: append"):
        assert f"| {group} |" in text
    assert "too short" not in text
    for precision in ("float32", "bfloat16"):
        assert f"| bce | train | {precision} | 1 x 16 x 6 |" in text


def test_a_short_time_makes_short_epochs_and_none_makes_no_training(monkeypatch, capsys):
    monkeypatch.setattr(bench_train_cuda, "KINDS", KINDS[:1])
    monkeypatch.setattr(bench_train_cuda, "SETTLING", 1e9)
    assert run(monkeypatch, "--scale", "0.0005") == 0
    text = capsys.readouterr().out
    assert "too short for whole epochs" in text
    assert "| float32 | clean_train_mode | 80 |" in text
    assert run(monkeypatch, "--scale", "0.0005", "--seconds", "1") == bench_train_cuda.ENDED_EARLY
    text = capsys.readouterr().out
    assert "| float32 | clean_train_mode |" in text
    assert text.count("not run: no time was left") == 1 + 2  # the training, and a method in two precisions


def test_too_few_videos_are_an_error_of_one_sentence(monkeypatch, capsys):
    monkeypatch.setitem(SHAPES, "cpu", bench_train_cuda.replace(SHAPES["cpu"], batch=128))
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, "--scale", "0.0005")
    assert error.value.code == 2
    assert "scale: expected one that leaves 256 training videos" in capsys.readouterr().err


def event(name, start=0.0, end=0.0, parent=None, kernels=(), device="DeviceType.CPU"):
    span = SimpleNamespace(start=start, end=end, elapsed_us=lambda: end - start)
    kernels = [SimpleNamespace(name=kernel, duration=duration) for kernel, duration in kernels]
    return SimpleNamespace(name=name, time_range=span, cpu_parent=parent, kernels=kernels, device_type=device)


def test_kernels_go_to_what_launched_them_and_ranges_count_for_nothing():
    model, step = event(MODEL), event("Optimizer.step#Adam.step")
    backward = event("autograd::engine::evaluate_function: AddmmBackward0")
    events = [
        model,
        step,
        backward,
        event("aten::addmm", parent=model, kernels=[("sm90_xmma_f32", 8.0)]),
        event("aten::relu", parent=model, kernels=[("clamp_kernel", 1.0)]),
        event("aten::mm", parent=backward, kernels=[("sm90_xmma_f32", 7.0)]),
        event("aten::_foreach_add_", parent=step, kernels=[("multi_tensor", 2.0)]),
        *(
            event(name, start, end, device="DeviceType.CUDA")
            for name, start, end in (
                (MODEL, 0, 50),
                ("sm90_xmma_f32", 0, 8),
                ("clamp_kernel", 8, 9),
                ("sm90_xmma_f32", 10, 17),
                ("void vltr::cuda::(anonymous namespace)::gather_frames_kernel<float>(FrameGather)", 12, 20),
                ("void vltr::cuda::(anonymous namespace)::frame_stack_gradient_kernel<float>()", 20, 23),
                ("multi_tensor", 30, 32),
                ("Memcpy HtoD (Pinned -> Device)", 31, 35),
                ("nvjet_tst_128x256", 40, 46),  # the profiler lost its operator
            )
        ),
    ]
    spent = bench_train_cuda.seconds_by_group(events, on_device=True)
    assert {group: round(seconds * 1e6) for group, seconds in spent.items() if seconds} == {
        PRODUCTS: 21,
        ELEMENTWISE: 1,
        OPTIMIZER: 2,
        "vltr: gather_frames": 8,
        "vltr: frame_stack_gradient": 3,
        OTHER: 4,
    }
    assert bench_train_cuda.busy_seconds(events, on_device=True) * 1e6 == pytest.approx(9 + 13 + 5 + 6)


def test_frames_of_a_video_are_fewer_where_memory_is_short(monkeypatch):
    tiny = SHAPES["cpu"]
    monkeypatch.setattr(device_data, "make_frames", lambda count, dim, _: torch.zeros(count, dim).half())
    monkeypatch.setattr(device_data, "FEWEST_FRAMES", 4)
    videos = 201 + 61
    for frames, said in ((12, ""), (5, "each video has 5 here")):
        free = device_data.ROOM + videos * tiny.dim * 2 * frames
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda free=free: (free, free))
        data, note = device_data.make_data(0.0005, tiny, torch.device("cuda"))
        assert (data.frames.frames.shape[0], said in note) == (videos * frames, True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, 0))
    with pytest.raises(ValueError, match="scale: expected one whose 262 videos fit into"):
        device_data.make_data(0.0005, tiny, torch.device("cuda"))


def measured(monkeypatch, *specs: str, seconds: float = 1e9):
    """Measure these methods in float32."""
    monkeypatch.setattr(method_steps, "PRECISIONS", ("float32",))
    monkeypatch.setattr(method_steps, "all_methods", lambda: specs)
    monkeypatch.setattr("vltr_train.context.resident_frames", lambda frames, *_: frames.frames)
    data, _ = device_data.make_data(0.0005, SHAPES["cpu"], CPU)
    return list(measure_methods(CPU, SHAPES["cpu"], data, time.monotonic() + seconds))


def test_every_stage_has_the_steps_of_its_last_epoch(monkeypatch):
    found = measured(monkeypatch, "ava_two_stage", "crt", "bce:r101")
    assert [each.remark for each in found] == [""] * 3
    stages = [(each.spec, stage.title) for each in found for stage in each.stages]
    assert stages == [
        *(("ava_two_stage", title) for title in ("judge", "features", "classifier")),
        *(("crt", title) for title in ("train", "classifier")),
        ("bce:r101", "train"),
    ]
    for stage in (stage for each in found for stage in each.stages):
        assert (len(stage.marks), stage.clips) == (SHAPES["cpu"].few + 1, (1, 16, 6))
        assert stage.seconds > 0


def test_framestack_mixes_in_all_steps_that_are_timed(monkeypatch):
    module, calls = sys.modules[find_method("framestack").__module__], []
    frame_stack = module.frame_stack
    monkeypatch.setattr(module, "frame_stack", lambda *a, **o: calls.append(1) or frame_stack(*a, **o))
    ((stage,),) = (each.stages for each in measured(monkeypatch, "framestack"))
    assert len(calls) == len(stage.marks) - 1 == SHAPES["cpu"].few


def test_a_step_is_the_median_and_a_device_counts_milliseconds():
    assert StageSteps("train", marks=[0.0, 1.0, 1.5, 4.0]).seconds == 1.0
    event = SimpleNamespace(elapsed_time=lambda end: end)
    assert seconds_between(event, 1500.0) == 1.5


def test_memory_is_the_peak_of_the_last_epoch_beyond_what_was_there(monkeypatch):
    class Kind:
        begin_stage = begin_epoch = forward = end_epoch = lambda self, *_: None

    peaks, there = iter([900, 350]), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 100)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: next(peaks))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: resets.append(1))
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: SimpleNamespace(record=lambda: None))
    method, resets = Kind(), []
    with watched(Kind, there) as found:
        method.begin_stage(SimpleNamespace(name="train"))
        for epoch in range(2):
            method.begin_epoch(epoch, 3)
            method.forward(SimpleNamespace(features=torch.zeros(3, 2, 1)), None)
            method.end_epoch()
    assert [(stage.title, stage.peak, stage.clips, len(stage.marks)) for stage in found] == [
        ("train", 250, (2, 3, 2), 2)
    ]
    assert len(resets) == 2


@pytest.mark.parametrize("name", all_methods())
def test_on_a_device_methods_have_their_own_batches_and_clips(name):
    settings = short_settings(find_method(name), torch.device("cuda"), SHAPES["cuda"])
    assert set(settings) <= {"epochs", "judge_epochs", "classifier_epochs", "expert2_epochs", "scales_epochs"}
    assert set(settings.values()) == {method_steps.EPOCHS}


def test_what_is_not_measured_says_why_and_want_of_memory_is_no_failure(monkeypatch):
    def fit(spec, *_, **__):
        raise torch.cuda.OutOfMemoryError("10 GiB") if spec == "bce" else RuntimeError("no such kernel")

    with monkeypatch.context() as patch:
        patch.setattr(method_steps, "fit", fit)
        found = measured(monkeypatch, "bce", "cbs")
    assert [each.remark for each in found] == [
        "memory did not suffice: OutOfMemoryError: 10 GiB",
        "**failed**: RuntimeError: no such kernel",
    ]
    late = measured(monkeypatch, "bce", seconds=1.0)
    assert [each.remark for each in late] == ["not run: no time was left"]
    text = "\n".join(method_section([*found, *late], SHAPES["cpu"], 100))
    for each in (*found, *late):
        assert f"| {each.spec} | - | float32 | - | - | - | - | {each.remark} |" in text
