"""bench_train_cuda.py at its smallest, without a GPU: it trains, and it tells kernels apart."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import bench_train_cuda
from bench_train_cuda import ELEMENTWISE, KINDS, MODEL, OPTIMIZER, OTHER, PRODUCTS


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


def test_a_short_time_makes_short_epochs_and_none_makes_no_training(monkeypatch, capsys):
    monkeypatch.setattr(bench_train_cuda, "KINDS", KINDS[:1])
    monkeypatch.setattr(bench_train_cuda, "SETTLING", 1e9)
    assert run(monkeypatch, "--scale", "0.0005") == 0
    text = capsys.readouterr().out
    assert "too short for whole epochs" in text
    assert "| float32 | clean_train_mode | 80 |" in text
    assert run(monkeypatch, "--scale", "0.0005", "--seconds", "1") == 0
    assert "not run: no time was left" in capsys.readouterr().out


def test_too_few_videos_are_an_error_of_one_sentence(monkeypatch, capsys):
    shape = bench_train_cuda.SHAPES["cpu"]
    monkeypatch.setitem(bench_train_cuda.SHAPES, "cpu", bench_train_cuda.replace(shape, batch=128))
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
                ("nvjet_tst_128x256", 40, 46),  # whose operator the profiler has lost
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
    torch, tiny = bench_train_cuda.torch, bench_train_cuda.SHAPES["cpu"]
    monkeypatch.setattr(bench_train_cuda, "make_frames", lambda count, dim, _: torch.zeros(count, dim).half())
    monkeypatch.setattr(bench_train_cuda, "FEWEST_FRAMES", 4)
    videos = 201 + 61
    for frames, said in ((12, ""), (5, "each video has 5 here")):
        free = bench_train_cuda.ROOM + videos * tiny.dim * 2 * frames
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda free=free: (free, free))
        data, note = bench_train_cuda.make_data(0.0005, tiny, torch.device("cuda"))
        assert (data.frames.frames.shape[0], said in note) == (videos * frames, True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, 0))
    with pytest.raises(ValueError, match="scale: expected one whose 262 videos fit into"):
        bench_train_cuda.make_data(0.0005, tiny, torch.device("cuda"))
