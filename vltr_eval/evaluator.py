"""An evaluation that takes its rows batch by batch, and, in a distributed run, together with the other ranks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from vltr_eval.arrays import borrow, borrow_matrix, num_threads, of_bits, read_numbers
from vltr_eval.exchange import ALONE, Alone, Group, current_group, telling
from vltr_eval.findings import Findings, read_conventions
from vltr_eval.groups import DEFAULT_BOUNDS
from vltr_eval.labels import LabelPairs, Positives
from vltr_eval.parts import Part, count
from vltr_eval.rank_table import RankTable
from vltr_eval.report import Report, Settings
from vltr_eval.row_store import RowStore

__all__ = ["Evaluator", "check_whole", "read_ids"]

_FORMAT = "vltr-eval/evaluator/1"
_MAX_ROWS = 2**32 - 1


class Evaluator:
    """Takes scores and labels batch by batch and gives the report of them all: what `evaluate` gives of all at once.

    Scores are kept in their own dtype where they are made: numpy, torch, CPU or CUDA. Labels are kept as the few
    positives that they are. Under torch.distributed every rank gets the exact result over the rows of all ranks, with
    the same bits as one process would get, for O(positives) bytes of communication; no rank sees another's scores.

    num_classes: C. num_rows: how many rows will come to this process, if known: memory for them is taken at once.
    memory_budget: bytes of scores after which further ones go to a file in ``spill_dir`` that has no name and is gone
    with the process. sync_on_compute: whether `compute` is over all ranks where torch.distributed has been initialised;
    process_group: over which of them, None for all. sap, seed, topk, train_counts, bounds, class_names, absent,
    threads: as `evaluate`.

    As a context manager it makes all ranks fail together: they leave the block together, and when the body raises on
    one rank, those that wait in `compute` or at the end of the block raise as well, with its message. (Without it they
    wait until that process ends.) The body should hold no other collectives, in which ranks would wait unheard: of a
    DistributedDataParallel model call ``model.module``.

    >>> evaluator = Evaluator(num_classes=2, sap="exact", topk=(1,))
    >>> evaluator.update(np.float32([[.9, .1], [.8, .7]]), [[0], [1]])
    >>> evaluator.update(np.float32([[.7, .2]]), [[0]])
    >>> round(evaluator.compute().metrics()["mAP"], 4)
    0.9167
    """

    def __init__(
        self,
        num_classes: int,
        *,
        num_rows: int | None = None,
        memory_budget: int | None = None,
        spill_dir: str | os.PathLike[str] | None = None,
        sync_on_compute: bool = True,
        process_group: Any = None,
        sap: int | str | None = 15,
        seed: int = 0,
        topk: Iterable[int] | None = (1, 5),
        train_counts: Sequence[float] | np.ndarray | None = None,
        bounds: tuple[float, float] = DEFAULT_BOUNDS,
        class_names: Sequence[str] | None = None,
        absent: str = "nan",
        threads: int | None = None,
    ) -> None:
        self.num_classes = check_whole("num_classes", num_classes, 1)
        self._room = {
            "num_rows": None if num_rows is None else check_whole("num_rows", num_rows, 1),
            "memory_budget": None if memory_budget is None else check_whole("memory_budget", memory_budget, 0),
            "spill_dir": None if spill_dir is None else os.fspath(spill_dir),
        }
        num_threads(threads)  # raises
        self._threads = threads
        self._sync_on_compute = sync_on_compute
        self._process_group = process_group
        self._body: Alone | Group | None = None  # the exchange of a `with` block
        self._settings, self._about = read_conventions(
            num_classes,
            sap=sap,
            seed=seed,
            topk=topk,
            train_counts=train_counts,
            bounds=bounds,
            class_names=class_names,
            absent=absent,
        )
        self._hold(self._new_store())

    def _new_store(self) -> RowStore:
        return RowStore(self.num_classes, **self._room)

    def _hold(self, scores: RowStore) -> None:
        """Takes a store of scores in the place of its own, and forgets the labels."""
        self._scores = scores
        self._rows: list[np.ndarray] = []  # of the positives, with the class of each
        self._classes: list[np.ndarray] = []
        self._ids: list[np.ndarray] = []  # empty, or one array for each update
        self._is_torch = False

    @property
    def num_rows(self) -> int:
        """Rows taken since the start or the last `reset`, repeated samples included."""
        return len(self._scores)

    def __len__(self) -> int:
        return self.num_rows

    def __repr__(self) -> str:
        return f"<Evaluator of {self.num_rows} rows and {self.num_classes} classes>"

    def update(self, scores: Any, labels: Any, ids: Any = None) -> None:
        """Takes one batch.

        scores: (B, C) of any real dtype, the same in every update; they are copied. labels: every form that `evaluate`
        takes, on any device; those on a CUDA device are waited for. ids: (B,) integers that tell samples apart, in
        every update or in none: a sample that comes again, as from the padding of a DistributedSampler, is counted
        once (as it came to the lowest rank, first), and rows are numbered for the SAP draws in the order of ids, so
        that the result does not depend on how samples were dealt out.
        Raises ValueError or TypeError, and takes nothing, for what does not fit; a NaN is found by `compute`.
        """
        batch = borrow("scores", scores)
        if len(batch.shape) != 2 or batch.shape[1] != self.num_classes:
            raise ValueError(f"scores: expected shape (B, {self.num_classes}), got {batch.shape}")
        num_rows, start = batch.shape[0], self.num_rows
        if self._scores.dtype not in (None, batch.dtype):
            raise ValueError(f"scores: expected {self._scores.dtype} as in earlier updates, got {batch.dtype}")
        if start + num_rows > _MAX_ROWS:
            raise ValueError(f"scores: expected at most {_MAX_ROWS} rows, got {start + num_rows}")
        if start and (ids is None) == bool(self._ids):
            raise ValueError("ids: expected sample ids in every update or in none, got them in some")
        numbers = None if ids is None else read_ids(ids, num_rows)
        if num_rows == 0:
            return
        positives = Positives.from_labels(labels, num_rows, self.num_classes, threads=self._threads)
        rows = positives.rows.astype(np.int64) + start
        classes = np.repeat(np.arange(self.num_classes, dtype=np.int64), positives.counts)
        self._scores.append(batch)
        self._append_labels(rows, classes, numbers)
        self._is_torch |= hasattr(batch.owner, "data_ptr")

    def _append_labels(self, rows: np.ndarray, classes: np.ndarray, ids: np.ndarray | None) -> None:
        self._rows.append(rows)
        self._classes.append(classes)
        if ids is not None:
            self._ids.append(ids)

    def compute(self) -> Report:
        """The report of all rows since the start or the last `reset`; further updates may follow.

        In a distributed run a collective: all ranks must call it, and all get the same report. Raises ValueError for a
        NaN score and where there are no rows at all, and RankFailure for another rank's error.
        """
        return self._count(self._settings).report(self._about)

    def rank_table(self) -> RankTable:
        """The rank table of the rows whose report `compute` gives; a collective as well."""
        return self._count(Settings(None, topk=())).table

    def sync(self) -> Report:
        """The report of the rows of all ranks, whatever ``sync_on_compute`` says; a collective."""
        return self._count(self._settings, always=True).report(self._about)

    def merge(self, *others: Evaluator) -> None:
        """Takes all rows of other evaluators, behind its own; they stay as they are.

        Raises ValueError, and takes nothing, where classes, dtype or the use of ids differ.
        """
        for other in others:
            if not isinstance(other, Evaluator):
                raise TypeError(f"others: expected evaluators, got {type(other).__name__}")
            if other.num_classes != self.num_classes:
                raise ValueError(f"others: expected {self.num_classes} classes, got {other.num_classes}")
        states = [other for other in others if other.num_rows]
        have_ids = {bool(evaluator._ids) for evaluator in (self, *states) if evaluator.num_rows}
        dtypes = {evaluator._scores.dtype for evaluator in (self, *states)} - {None}
        if len(dtypes) > 1:
            raise ValueError(f"others: expected scores of one dtype, got {' and '.join(sorted(dtypes))}")
        if len(have_ids) > 1:
            raise ValueError("others: expected sample ids in all evaluators or in none, got them in some")
        start, num_rows = self.num_rows, sum(other.num_rows for other in states)
        if start + num_rows > _MAX_ROWS:
            raise ValueError(f"others: expected at most {_MAX_ROWS} rows, got {start + num_rows}")
        labels = [(other.num_rows, *other._labels()) for other in states]
        self._scores.append(*(shard for other in states for shards in other._scores.shards() for shard in shards))
        for num_rows, rows, classes, ids in labels:
            self._append_labels(rows + start, classes, ids)
            start += num_rows
        self._is_torch |= any(other._is_torch for other in states)

    def reset(self) -> None:
        """Forgets all rows; memory that was taken for a known number of rows is kept."""
        self._scores.clear()
        self._hold(self._scores)

    def state_dict(self) -> dict[str, Any]:
        """All rows in CPU memory: plain values and arrays, those of torch where scores were, else numpy's.

        They can be saved by torch.save, numpy.savez or pickle, and are taken by `load_state_dict`. The conventions
        (sap, topk, ...) are not in it.
        """
        if not self.num_rows:
            return {"format": _FORMAT}  # without arrays, which would be of a library that the loader may not take
        rows, classes, ids = self._labels()
        dtype = self._scores.dtype
        state = {"scores": self._scores.bits(), "rows": rows, "classes": classes}
        state |= {} if ids is None else {"ids": ids}
        if self._is_torch:
            torch = sys.modules["torch"]
            # As signed integers first: not every torch has all that numpy shows of scores.
            state["scores"] = state["scores"].view(f"i{state['scores'].itemsize}")
            state = {name: torch.from_numpy(array) for name, array in state.items()}
            state["scores"] = state["scores"].view(getattr(torch, dtype))
        return {"format": _FORMAT, "dtype": dtype, **state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts the rows of a saved state in the place of its own.

        Raises ValueError or TypeError, and keeps its own, for anything else than such.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state: expected what Evaluator.state_dict gave, got {type(state).__name__}")
        names = set(map(str, state))
        is_whole = names == {"format"} or {"format", "dtype", "scores", "rows", "classes"} <= names
        if not is_whole or str(state["format"]) != _FORMAT:
            raise ValueError(f"state: expected what Evaluator.state_dict gave, got keys {', '.join(sorted(names))}")
        if names == {"format"}:
            self._hold(self._new_store())
            return
        # torch.load may have put tensors on a device.
        state = {name: value.cpu() if hasattr(value, "cpu") else value for name, value in state.items()}
        dtype, is_torch = str(state["dtype"]), hasattr(state["scores"], "data_ptr")
        rows, classes = (read_numbers(name, state[name]) for name in ("rows", "classes"))
        scores = borrow("scores", state["scores"])
        if scores.dtype not in (dtype, "uint16" if dtype == "bfloat16" else dtype):
            raise ValueError(f"state: expected scores of {dtype}, got {scores.dtype}")
        if len(scores.shape) != 2 or scores.shape[1] != self.num_classes:
            raise ValueError(f"state: expected {self.num_classes} classes, got scores of shape {scores.shape}")
        shape = scores.shape
        ids = read_ids(state["ids"], shape[0]) if "ids" in names else None
        Positives.from_labels(LabelPairs(*shape, rows, classes), *shape)  # raises
        store = self._new_store()
        if shape[0]:
            store.append(of_bits(scores.bits(), dtype))
        self._hold(store)
        if shape[0]:
            self._append_labels(rows.astype(np.int64), classes.astype(np.int64), ids)
            self._is_torch = is_torch

    def __getstate__(self) -> dict[str, Any]:
        """With the rows in CPU memory."""
        if self._process_group is not None:
            raise TypeError("process_group: expected None in an Evaluator to be copied or pickled, got a group")
        hidden = ("_scores", "_rows", "_classes", "_ids", "_is_torch", "_body")
        kept = {name: value for name, value in self.__dict__.items() if name not in hidden}
        return kept | {"state": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        rows = state.pop("state")
        self.__dict__.update(state, _body=None)
        self.load_state_dict(rows)

    def __enter__(self) -> Evaluator:
        self._body = self._exchange()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        body, self._body = self._body, None
        if error is None:
            body.meet()
        else:
            body.tell(error)

    def _exchange(self) -> Alone | Group:
        return self._body or current_group(self._process_group)

    def _count(self, settings: Settings, *, always: bool = False) -> Findings:
        exchange = self._exchange() if always or self._sync_on_compute else ALONE
        with telling(exchange):
            parts = list(self._parts())
        return count(settings, parts, self.num_classes, about=self._about, exchange=exchange, threads=self._threads)

    def _labels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Rows and classes of all positives, (nnz,) int64 each, and the ids of all rows."""
        rows, classes = (np.concatenate([np.empty(0, np.int64), *arrays]) for arrays in (self._rows, self._classes))
        return rows, classes, np.concatenate(self._ids) if self._ids else None

    def _parts(self) -> Iterator[Part]:
        """The rows, by the places where they lie."""
        rows, classes, ids = self._labels()
        start = 0
        for shards in self._scores.shards():
            matrix = borrow_matrix("scores", shards)
            stop = start + matrix.num_rows
            own = slice(None) if matrix.num_rows == self.num_rows else (rows >= start) & (rows < stop)
            pairs = LabelPairs(matrix.num_rows, self.num_classes, rows[own] - start, classes[own])
            positives = Positives.from_labels(pairs, matrix.num_rows, self.num_classes)
            yield Part(matrix, positives, None if ids is None else ids[start:stop], start)
            start = stop


def read_ids(ids: Any, num_rows: int) -> np.ndarray:
    """(N,) int64 of sample ids in any integer dtype. Raises TypeError or ValueError for what is none."""
    numbers = read_numbers("ids", ids)
    if numbers.dtype.kind not in "iu" and numbers.size:
        raise TypeError(f"ids: expected integers, got {numbers.dtype}")
    if numbers.shape != (num_rows,):
        raise ValueError(f"ids: expected shape ({num_rows},) as scores has rows, got {numbers.shape}")
    if numbers.size and int(numbers.max()) >= 2**63:
        raise ValueError(f"ids: expected integers below 2**63, got {int(numbers.max())}")
    return numbers.astype(np.int64)


def check_whole(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name}: expected an integer from {least} up, got {value}")
    return int(value)
