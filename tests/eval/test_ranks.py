"""Messages between ranks arrive at the right rank, and a failure of one rank raises on all ranks."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("torch")

import torch.distributed as dist
from ranks import GONE, Raised, Ranks, group_of

from vltr_eval._base.ranks import SINGLE_PROCESS, Communicator, current_group, launched_group, propagate_errors


@pytest.fixture(params=[2, 4])
def ranks(request):
    """Return a process group of two ranks, then one of four."""
    return group_of(request.param)


# ---------------------------------------------------------------------------------------------------------------------
# SingleProcess
# ---------------------------------------------------------------------------------------------------------------------


def test_a_single_process_receives_its_messages():
    assert SINGLE_PROCESS.all_to_all(lambda: ["mine"]) == ["mine"]
    assert SINGLE_PROCESS.all_gather(lambda: "mine") == ["mine"]
    assert SINGLE_PROCESS.all_reduce(lambda: np.arange(3), most=2).tolist() == [0, 1, 2]


def test_a_single_process_raises_the_error_itself():
    with pytest.raises(KeyError, match="model"), propagate_errors(SINGLE_PROCESS):
        raise KeyError("model")


def test_without_a_process_group_there_is_a_single_process():
    assert current_group() is SINGLE_PROCESS


@pytest.mark.parametrize("size", [None, "1"])
def test_one_launched_process_is_a_single_process(monkeypatch, size):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size is not None:
        monkeypatch.setenv("WORLD_SIZE", size)
    with launched_group() as communicator:
        assert communicator is SINGLE_PROCESS
    assert not dist.is_initialized()


# ---------------------------------------------------------------------------------------------------------------------
# Messages
# ---------------------------------------------------------------------------------------------------------------------


def all_to_all_ragged(rank):
    """Send r numbers from rank s to rank r: none to rank 0, and the most to the last."""
    communicator = current_group()
    length = [10**6 if to == communicator.size - 1 else to for to in range(communicator.size)]
    return [part.tolist()[:3] for part in communicator.all_to_all(lambda: [np.full(n, rank) for n in length])]


def test_all_to_all_sends_each_message_to_its_rank(ranks):
    for rank, arrived in enumerate(ranks.run(all_to_all_ragged)):
        length = 3 if rank == ranks.size - 1 else rank
        assert arrived == [[sender] * length for sender in range(ranks.size)]


def all_gather_where_only_nccl_is(rank):
    """nccl does not move CPU memory, which holds the messages. One rank is in more groups than the others."""
    dist.new_group([0])
    with mock.patch.object(dist, "get_backend_config", return_value="cuda:nccl"):
        communicator, again = Communicator(), Communicator()
    assert communicator._over_gloo is again._over_gloo
    assert communicator._over_gloo is not None
    return (
        communicator._over_gloo.name(),
        communicator.all_gather(lambda: rank),
        communicator.all_reduce(lambda: np.arange(3), 9).tolist(),
    )


def test_a_group_of_nccl_gets_one_of_gloo(ranks):
    sums = [0, ranks.size, 2 * ranks.size]
    assert ranks.run(all_gather_where_only_nccl_is) == [("gloo", list(range(ranks.size)), sums)] * ranks.size


def all_gather_anything(rank, messages):
    return current_group().all_gather(lambda: messages[rank])


def test_all_gather_gives_all_messages_in_the_order_of_ranks(ranks):
    messages = [None, {"a": (1, "two")}, b"", [3.5]][: ranks.size]
    assert ranks.run(all_gather_anything, messages) == [messages] * ranks.size


def add_most(rank, most):
    share = [most // 4, 0, -1, rank]
    sums = current_group().all_reduce(lambda: np.array(share), most=most)
    return sums.dtype.name, sums.tolist()


@pytest.mark.parametrize("most", [2**31 - 1, 2**31, 2**60])
def test_all_reduce_is_exact_up_to_the_maximum(ranks, most):
    size = ranks.size
    expected = "int64", [most // 4 * size, 0, -size, size * (size - 1) // 2]
    assert ranks.run(add_most, most) == [expected] * size


def add_columns(rank):
    """Reduce an array that is neither contiguous nor owned by the caller alone; it must not change."""
    array = np.arange(12).reshape(3, 4)
    sums = current_group().all_reduce(lambda: array[:, 1], most=100)
    return array.ravel().tolist() == list(range(12)), sums.tolist()


def test_all_reduce_does_not_change_its_input(ranks):
    assert ranks.run(add_columns) == [(True, [ranks.size * n for n in (1, 5, 9)])] * ranks.size


def add_none(rank):
    return current_group().all_reduce(lambda: np.empty(0, np.int64), most=5).tolist()


def test_sums_of_nothing_are_none(ranks):
    assert ranks.run(add_none) == [[]] * ranks.size


def count_bytes_of_all_to_all(rank, length):
    moved = []
    communicator = current_group()
    move = dist.all_to_all_single
    dist.all_to_all_single = lambda out, sent, *sizes, **kw: moved.append(sent.nbytes) or move(out, sent, *sizes, **kw)
    try:
        communicator.all_to_all(lambda: [b"x" * length] * communicator.size)
    finally:
        dist.all_to_all_single = move
    return sum(moved)


def test_all_to_all_sends_little_beside_the_messages(ranks):
    for moved in ranks.run(count_bytes_of_all_to_all, 10_000):
        assert 10_000 * ranks.size <= moved <= (10_000 + 50) * ranks.size


# ---------------------------------------------------------------------------------------------------------------------
# Failures
# ---------------------------------------------------------------------------------------------------------------------

ERRORS = {
    "ValueError": ValueError("scores: expected numbers"),
    "KeyError": KeyError("model"),
    "SystemExit": SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "MemoryError": MemoryError(),
    "ValueError of a file": ValueError("gr\u00fc\u00dfe \udcff.npy: empty"),
    "RuntimeError": RuntimeError("several\nlines"),
}
SENTENCES = {
    "ValueError": "rank 0: ValueError: scores: expected numbers",
    "KeyError": "rank 0: KeyError: 'model'",
    "SystemExit": "rank 0: SystemExit: 3",
    "KeyboardInterrupt": "rank 0: KeyboardInterrupt:",
    "MemoryError": "rank 0: MemoryError:",
    "ValueError of a file": "rank 0: ValueError: gr\u00fc\u00dfe \\udcff.npy: empty",
    "RuntimeError": "rank 0: RuntimeError: several lines",
}
METHODS = ("all_to_all", "all_gather", "all_reduce", "abort")


def fail(rank, method, failing, kind):
    """Fail on some ranks in a method, or by abort before it; the other ranks send their messages."""
    communicator = current_group()

    def make():
        if rank in failing:
            raise ERRORS[kind]
        return {"all_to_all": [None] * communicator.size, "all_gather": None, "all_reduce": np.zeros(3, int)}[method]

    if method == "abort":
        method = "all_gather"
        if rank in failing:
            with propagate_errors(communicator):
                raise ERRORS[kind]
    return communicator.all_reduce(make, most=1) if method == "all_reduce" else getattr(communicator, method)(make)


@pytest.mark.parametrize("method", METHODS)
def test_the_error_of_one_rank_is_raised_on_all(ranks, method):
    for rank, error in enumerate(ranks.errors(fail, method, [1], "ValueError")):
        failure = Raised("ValueError", "scores: expected numbers")
        assert error == (failure if rank == 1 else Raised("RankFailure", f"rank 1: ValueError: {failure.message}"))
    assert ranks.run(add_none)


@pytest.mark.parametrize("kind", ERRORS)
def test_every_kind_of_error_reaches_the_others(ranks, kind):
    for method in ("all_gather", "abort"):
        errors = ranks.errors(fail, method, [0], kind)
        assert errors[0].kind == type(ERRORS[kind]).__name__
        for error in errors[1:]:
            assert error == Raised("RankFailure", SENTENCES[kind])
    assert ranks.run(add_none)


@pytest.mark.parametrize("method", METHODS)
def test_ranks_that_fail_together_are_all_named(ranks, method):
    errors = ranks.errors(fail, method, [0, ranks.size - 1], "KeyError")
    assert errors[0] == errors[-1] == Raised("KeyError", "'model'")
    for error in errors[1:-1]:
        assert error == Raised("RankFailure", f"rank 0: KeyError: 'model'; rank {ranks.size - 1}: KeyError: 'model'")


def test_ranks_may_all_fail(ranks):
    for method in METHODS:
        assert ranks.errors(fail, method, range(4), "KeyError") == [Raised("KeyError", "'model'")] * ranks.size
    assert ranks.run(add_none)


def fail_and_continue(rank):
    """An abort ends once it is received: the next collective is the next call of each rank."""
    communicator = current_group()
    with contextlib.suppress(KeyError, RuntimeError):
        fail(rank, "abort", [0], "KeyError")
    return communicator.all_gather(lambda: rank)


def test_ranks_can_continue_after_an_error(ranks):
    assert ranks.run(fail_and_continue) == [list(range(ranks.size))] * ranks.size


# ---------------------------------------------------------------------------------------------------------------------
# Groups
# ---------------------------------------------------------------------------------------------------------------------


def group_of_odd_ranks(rank):
    group = dist.new_group([1, 3])
    try:
        communicator = current_group(group)
        return communicator.rank, communicator.size, communicator.all_gather(lambda: rank)
    finally:
        if rank in (1, 3):
            dist.destroy_process_group(group)


def test_a_subgroup_exchanges_within_itself():
    outcomes = group_of(4).outcomes(group_of_odd_ranks)
    assert outcomes[1::2] == [(0, 2, [1, 3]), (1, 2, [1, 3])]
    outside = Raised("ValueError", "group: expected a process group with this process in it, got one without")
    assert outcomes[::2] == [outside] * 2


def group_of_one(rank):
    groups = [dist.new_group([member]) for member in range(dist.get_world_size())]
    return current_group(groups[rank]) is SINGLE_PROCESS, Communicator(groups[rank]).all_gather(lambda: rank)


def test_a_group_of_one_is_a_single_process(ranks):
    assert ranks.run(group_of_one) == [(True, [rank]) for rank in range(ranks.size)]


# ---------------------------------------------------------------------------------------------------------------------
# Killed ranks
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mortal(request):
    """Return a separate group, for tests that kill its ranks."""
    started = Ranks(request.param)
    yield started
    started.stop()


def be_killed(rank, when):
    """Kill rank 1 in place of its ``when``-th collective call; a sum has four calls."""
    calls = [dist.all_to_all_single] * when
    if rank == 1:
        dist.all_to_all_single = lambda *args, **kw: calls.pop()(*args, **kw) if calls else die()
    return current_group().all_reduce(lambda: np.zeros(100_000, int), most=1).tolist()


def die():
    time.sleep(0.1)  # the others wait by now
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("mortal", [2, 4], indirect=True)
@pytest.mark.parametrize("when", range(4))
def test_a_killed_rank_is_an_error_on_the_others(mortal, when):
    outcomes = mortal.outcomes(be_killed, when)
    assert outcomes.pop(1) == GONE
    for outcome in outcomes:
        assert outcome.kind == "RankFailure"
        assert outcome.message.startswith("a rank went away without saying why (")
        assert outcome.message.isprintable()


def abort_to_killed_ranks(rank):
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    with propagate_errors(current_group()):
        raise KeyError("model")


@pytest.mark.parametrize("mortal", [2], indirect=True)
def test_an_error_is_raised_when_no_other_rank_is_left(mortal):
    assert mortal.outcomes(abort_to_killed_ranks) == [Raised("KeyError", "'model'"), GONE]
