"""An evaluation of rows that arrive in batches and, in a distributed run, on several ranks."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import numpy as np

from vltr_eval._base.arrays import Array, borrow, borrow_matrix, num_threads, of_bits, read_numbers, to_host
from vltr_eval._base.ranks import SINGLE_PROCESS, Communicator, SingleProcess, current_group, propagate_errors
from vltr_eval._engine.counting import Chunk, count_chunks
from vltr_eval._engine.label_marks import read_positives, unknown_of_mask
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.options import EvalOptions, EvalOptionsDict, Unpack
from vltr_eval._engine.rank_table import RankTable
from vltr_eval._engine.results import EvaluationCounts
from vltr_eval._engine.row_store import RowStore
from vltr_eval._engine.sample_ids import id_kind, pack_ids, read_ids, unpack_ids
from vltr_eval._engine.unknown import UnknownCells
from vltr_eval.formats import LabelPairs
from vltr_eval.report.report import Report
from vltr_eval.report.settings import Settings, check_reduce

__all__ = ["Evaluator", "check_no_labels", "check_whole"]

_FORMAT = "vltr-eval/evaluator/1"
_FORMAT_OF_STRING_IDS = "vltr-eval/evaluator/2"  # versions without string ids refuse it
_FORMAT_OF_UNKNOWN = "vltr-eval/evaluator/3"  # those without unknown labels, too
_MAX_ROWS = 2**32 - 1


@dataclass(frozen=True, eq=False)
class _Labels:
    """The labels of one update: rows of positives, counted over all updates, and their classes, (nnz,) int64; ids.

    The unknown cells have the rows of the update.
    """

    rows: np.ndarray
    classes: np.ndarray
    ids: np.ndarray | None
    unknown: UnknownCells | None
    num_rows: int


@dataclass(frozen=True, eq=False)
class _Taken:
    """The rows that an evaluator has taken; the evaluator changes by replacing this object.

    Two of them may share the memory of scores and the list of labels. Each uses its own first part of them.
    """

    scores: RowStore
    listed: list[_Labels] = field(default_factory=list)
    num_listed: int = 0
    is_torch: bool = False

    @property
    def id_kind(self) -> str | None:
        return id_kind(self.listed[0].ids) if self.num_listed else None

    def with_rows(self, scores: Iterable[Array], labels: Iterable[_Labels], *, is_torch: bool) -> _Taken:
        """Return these rows with more behind them. Only the last such object may be extended further."""
        store = copy.copy(self.scores)
        store.append(*scores)
        del self.listed[self.num_listed :]  # those of an interrupted update
        self.listed.extend(labels)
        return _Taken(store, self.listed, len(self.listed), self.is_torch or is_torch)

    def labels(self) -> _Labels:
        """The labels of all rows."""
        listed = self.listed[: self.num_listed]
        none = np.empty(0, np.int64)
        return _Labels(
            np.concatenate([none, *(labels.rows for labels in listed)]),
            np.concatenate([none, *(labels.classes for labels in listed)]),
            None if self.id_kind is None else np.concatenate([labels.ids for labels in listed]),
            UnknownCells.joined([labels.unknown for labels in listed], [labels.num_rows for labels in listed]),
            len(self.scores),
        )


class Evaluator:
    """Evaluate rows that arrive in batches: the report equals that of `evaluate` on all rows at once.

    Scores keep their dtype and stay on their device: numpy or torch, CPU or CUDA. Only the positives of the labels are
    kept. Under torch.distributed every rank gets the exact result over the rows of all ranks, with the same bits as one
    process would get. The ranks exchange O(positives) bytes, and O(rows) for intervals; no scores leave their rank.

    A call that raises or is interrupted (Ctrl-C) changes nothing, or has taken all its rows; `num_rows` shows which.

    Use the evaluator as a context manager to make all ranks fail together. If the body raises on one rank, the ranks
    that wait in `compute` or at the end of the block raise as well, with that message. Without the block they wait
    until that process ends. Do not call other collectives inside the block: they would wait for a rank that has failed.
    Call ``model.module`` instead of a DistributedDataParallel model.

    Args:
        num_classes: C.
        num_rows: Number of rows that will come to this process, if known. Their memory is allocated at once.
        memory_budget: Bytes of scores to keep in memory. Further scores go to a file.
        spill_dir: Folder of that file. The file has no name there and disappears with the process.
        sync_on_compute: Whether `compute` covers all ranks once torch.distributed is initialised.
        process_group: Process group of these ranks; None for all ranks.
        reduce: How the rows of one id become one row: "mean", "max", "sum" or "logmeanexp"; None if every row is a
            sample. The rows of one id are then the views of one video. They may come in different batches and on
            different ranks, and must have the same labels. All rows are kept until `compute`, in CPU memory or in the
            file of ``memory_budget``: scores of a CUDA device are copied there. See docs/clips.md.
        threads: Number of CPU threads; all cores if None.
        **options: sap, seed, topk, train_counts, bounds, groups, class_names, absent, interval, thresholds,
            allow_same_set and calibration; see `EvalOptions`.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument has the wrong type, or an option does not exist.

    Example:
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
        reduce: str | None = None,
        threads: int | None = None,
        **options: Unpack[EvalOptionsDict],
    ) -> None:
        chosen = EvalOptions.from_keywords(options, Evaluator)
        self.num_classes = check_whole("num_classes", num_classes, 1)
        self._room: dict[str, Any] = {
            "num_rows": None if num_rows is None else check_whole("num_rows", num_rows, 1),
            "memory_budget": None if memory_budget is None else check_whole("memory_budget", memory_budget, 0),
            "spill_dir": None if spill_dir is None else os.fspath(spill_dir),
        }
        num_threads(threads)  # raises
        self._threads = threads
        self._sync_on_compute = sync_on_compute
        self._process_group = process_group
        self._body: SingleProcess | Communicator | None = None  # the communicator of a `with` block
        self._settings, self._class_info = chosen.checked(num_classes)
        self._reduce = None if reduce is None else check_reduce(reduce)
        self._settings = replace(self._settings, reduce=self._reduce)
        self._taken = _Taken(self._new_store())

    def _new_store(self) -> RowStore:
        return RowStore(self.num_classes, **self._room)

    @property
    def num_rows(self) -> int:
        """Number of rows taken since the start or the last `reset`, repeated samples included."""
        return len(self._taken.scores)

    def __len__(self) -> int:
        return self.num_rows

    def __repr__(self) -> str:
        return f"<Evaluator of {self.num_rows} rows and {self.num_classes} classes>"

    def update(self, scores: Any, labels: Any, ids: Any = None, *, mask: Any = None, unknown: Any = None) -> None:
        """Take one batch: all of it, or nothing if the call raises or is interrupted.

        Args:
            scores: (B, C) array of any real dtype, the same in every update. It is copied.
            labels: Labels of the B rows in any form that `evaluate` takes, on any device. Labels on a CUDA device make
                the call wait for them.
            ids: (B,) integers or strings that identify samples, of one kind in every update, or None in all. A list, a
                numpy array, a pandas or polars Series, a pyarrow array, or a tensor of integers. A repeated sample, as
                from the padding of a DistributedSampler, is counted once and must have the same labels. Its first row
                on the lowest rank counts. The SAP draws number the rows in the order of ids (strings by their UTF-8
                bytes), so the result does not depend on the distribution of samples over ranks. With ``reduce``, ids
                are those of videos and must be given. Every row is then a view, so a sampler must repeat none:
                ``mean`` and the others but ``max`` would count it twice.
            mask: Which of these labels are known: a (B, C) array, or unknown cells; see `vltr_eval.evaluate`.
            unknown: The value of the labels that marks an unknown cell; see there.

        Raises:
            ValueError: Shapes, dtype or ids do not fit. `compute` raises for a NaN and for different labels of one
                sample.
            TypeError: An argument is no array, no labels or no ids.

        Example:
            >>> evaluator = Evaluator(num_classes=1)
            >>> evaluator.update(np.float32([[.9], [.8]]), [[0], []], ids=["cat.mp4", "dog.mp4"])
            >>> evaluator.num_rows
            2
        """
        batch = borrow("scores", scores)
        if len(batch.shape) != 2 or batch.shape[1] != self.num_classes:
            raise ValueError(f"scores: expected shape (B, {self.num_classes}), got {batch.shape}")
        taken, num_rows, start = self._taken, batch.shape[0], self.num_rows
        if taken.scores.dtype not in (None, batch.dtype):
            raise ValueError(f"scores: expected {taken.scores.dtype} as in earlier updates, got {batch.dtype}")
        if start + num_rows > _MAX_ROWS:
            raise ValueError(f"scores: expected at most {_MAX_ROWS} rows, got {start + num_rows}")
        if start and (ids is None) != (taken.id_kind is None):
            raise ValueError("ids: expected sample ids in every update or in none, got them in some")
        if ids is None and self._reduce is not None:
            raise ValueError("ids: expected the video of each row, because reduce is given, got None")
        ids = None if ids is None else read_ids(ids, num_rows)
        if num_rows == 0:
            check_no_labels(labels)
            return
        if start and id_kind(ids) != taken.id_kind:
            raise ValueError(f"ids: expected {taken.id_kind} as in earlier updates, got {id_kind(ids)}")
        positives = read_positives(
            labels, num_rows, self.num_classes, mask=mask, unknown=unknown, threads=self._threads, scores=batch
        )
        classes = np.repeat(np.arange(self.num_classes, dtype=np.int64), positives.counts)
        of_batch = _Labels(positives.rows.astype(np.int64) + start, classes, ids, positives.unknown, num_rows)
        is_torch = hasattr(batch.owner, "data_ptr")
        if self._reduce is not None:
            batch = to_host(batch)
        self._taken = taken.with_rows([batch], [of_batch], is_torch=is_torch)

    def compute(self, *, reset: bool = False) -> Report:
        """Compute the report of all rows since the start or the last `reset`; further updates may follow.

        In a distributed run this is a collective: all ranks must call it, and all get the same report.

        Args:
            reset: Whether to call `reset` afterwards, as at the end of an epoch. A call that raises keeps the rows.

        Raises:
            ValueError: A score is NaN, one id has different labels, or there are no rows.
            RankFailure: Another rank raised an error.
        """
        report = self._report()
        if reset:
            self.reset()
        return report

    def rank_table(self) -> RankTable:
        """Make the rank table of the rows that `compute` evaluates; also a collective."""
        return self._count(Settings(None, topk=()))[0].table

    def sync(self) -> Report:
        """Compute the report of the rows of all ranks, even with ``sync_on_compute=False``; a collective."""
        return self._report(always=True)

    def merge(self, *others: Evaluator) -> None:
        """Append all rows of other evaluators, which do not change.

        A call that raises or is interrupted appends nothing.

        Args:
            *others: Evaluators with the same number of classes, dtype and kind of ids.

        Raises:
            TypeError: An argument is no evaluator.
            ValueError: Classes, dtype or the kind of ids differ.
        """
        for other in others:
            if not isinstance(other, Evaluator):
                raise TypeError(f"others: expected evaluators, got {type(other).__name__}")
            if other.num_classes != self.num_classes:
                raise ValueError(f"others: expected {self.num_classes} classes, got {other.num_classes}")
        taken, start = self._taken, self.num_rows
        added = [other._taken for other in others if other.num_rows]
        with_rows = [taken, *added] if start else added
        dtypes = {rows.scores.dtype for rows in with_rows}
        kinds = {rows.id_kind for rows in with_rows}
        if len(dtypes) > 1:
            raise ValueError(f"others: expected scores of one dtype, got {' and '.join(sorted(map(str, dtypes)))}")
        if len(kinds) > 1 and None in kinds:
            raise ValueError("others: expected sample ids in all evaluators or in none, got them in some")
        if len(kinds) > 1:
            raise ValueError(f"others: expected sample ids of one kind, got {' and '.join(sorted(map(str, kinds)))}")
        num_rows = start + sum(len(rows.scores) for rows in added)
        if num_rows > _MAX_ROWS:
            raise ValueError(f"others: expected at most {_MAX_ROWS} rows, got {num_rows}")
        labels = []
        for rows in added:
            of_rows = rows.labels()
            labels.append(replace(of_rows, rows=of_rows.rows + start))
            start += len(rows.scores)
        scores = [shard for rows in added for shards in rows.scores.shards() for shard in shards]
        self._taken = taken.with_rows(scores, labels, is_torch=any(rows.is_torch for rows in added))

    def reset(self) -> None:
        """Discard all rows; memory that was allocated for a known number of rows is kept."""
        store = copy.copy(self._taken.scores)
        store.clear()
        self._taken = _Taken(store)

    def state_dict(self) -> dict[str, Any]:
        """Return all rows in CPU memory, for `load_state_dict`.

        Returns:
            A dict of strings and arrays of numbers: torch tensors if the scores are, else numpy arrays. torch.save,
            numpy.savez and pickle can save it. String ids are stored as their UTF-8 bytes and the end of each string.
            The options (sap, topk, ...) are not part of it.
        """
        taken = self._taken
        if not taken.num_listed:
            return {"format": _FORMAT}  # no arrays: the loader may not have their library
        labels, dtype = taken.labels(), taken.scores.dtype
        ids = {} if labels.ids is None else pack_ids(labels.ids)
        state = {"scores": taken.scores.bits(), "rows": labels.rows, "classes": labels.classes, **ids}
        if labels.unknown is not None:
            state |= _state_of_unknown(labels.unknown)
        if taken.is_torch:
            torch = sys.modules["torch"]
            # As signed integers first, because not every version of torch has all dtypes of numpy.
            state["scores"] = state["scores"].view(f"i{state['scores'].itemsize}")
            state = {name: torch.from_numpy(array) for name, array in state.items()}
            state["scores"] = state["scores"].view(getattr(torch, str(dtype)))
        form = _FORMAT_OF_STRING_IDS if "id_bytes" in ids else _FORMAT
        return {"format": form if labels.unknown is None else _FORMAT_OF_UNKNOWN, "dtype": dtype, **state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace all rows by those of a saved state.

        A call that raises or is interrupted changes nothing.

        Args:
            state: The result of `state_dict`.

        Raises:
            TypeError: The state is no mapping, or its arrays have another kind.
            ValueError: The state is not one that `state_dict` returns.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state: expected what Evaluator.state_dict gave, got {type(state).__name__}")
        names = set(map(str, state))
        is_whole = names == {"format"} or {"format", "dtype", "scores", "rows", "classes"} <= names
        is_whole = is_whole and ("id_bytes" in names) == ("id_ends" in names)
        of_unknown = {name for name in names if name.startswith("unknown_")}
        if is_whole and str(state["format"]) == _FORMAT_OF_UNKNOWN:
            is_whole = of_unknown in ({"unknown_bits"}, {"unknown_rows", "unknown_classes"})
        else:
            is_whole = is_whole and not of_unknown
        if not is_whole or str(state["format"]) not in (_FORMAT, _FORMAT_OF_STRING_IDS, _FORMAT_OF_UNKNOWN):
            raise ValueError(f"state: expected what Evaluator.state_dict gave, got keys {', '.join(sorted(names))}")
        if names == {"format"}:
            self._taken = _Taken(self._new_store())
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
        ids = unpack_ids(state, shape[0])
        positives = Positives.from_labels(LabelPairs(*shape, rows, classes), *shape)  # raises
        unknown = positives.with_unknown(_unknown_of_state(state, *shape)).unknown
        taken = _Taken(self._new_store())
        if shape[0]:
            labels = _Labels(rows.astype(np.int64), classes.astype(np.int64), ids, unknown, shape[0])
            taken = taken.with_rows([of_bits(scores.bits(), dtype)], [labels], is_torch=is_torch)
        self._taken = taken

    def __getstate__(self) -> dict[str, Any]:
        """The attributes, with the rows in CPU memory."""
        if self._process_group is not None:
            raise TypeError("process_group: expected None in an Evaluator to be copied or pickled, got a group")
        hidden = ("_taken", "_body")
        kept = {name: value for name, value in self.__dict__.items() if name not in hidden}
        return kept | {"state": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        rows = state.pop("state")
        self.__dict__.update(state, _body=None)
        self.load_state_dict(rows)

    def __enter__(self) -> Evaluator:
        self._body = self._communicator()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        body, self._body = self._communicator(), None
        if error is None:
            body.barrier()
        else:
            body.abort(error)

    def _communicator(self) -> SingleProcess | Communicator:
        return self._body or current_group(self._process_group)

    def _report(self, *, always: bool = False) -> Report:
        counts, notes = self._count(self._settings, always=always)
        report = counts.report(self._class_info)
        return replace(report, notes=(*notes, *report.notes)) if notes else report

    def _count(self, settings: Settings, *, always: bool = False) -> tuple[EvaluationCounts, tuple[str, ...]]:
        """The counts of all rows, and the notes on their reduction."""
        communicator = self._communicator() if always or self._sync_on_compute else SINGLE_PROCESS
        with propagate_errors(communicator):
            chunks = list(self._chunks())
        notes: tuple[str, ...] = ()
        if self._reduce is not None:
            from vltr_eval._engine.reduction import reduce_chunks  # not above: few evaluations have views

            chunks, reduced = reduce_chunks(chunks, self._reduce, communicator, threads=self._threads)
            notes = () if reduced is None else (reduced.note(self._reduce),)
        counts = count_chunks(
            settings,
            chunks,
            self.num_classes,
            class_info=self._class_info,
            communicator=communicator,
            threads=self._threads,
        )
        return counts, notes

    def _chunks(self) -> Iterator[Chunk]:
        """The rows, one chunk per device."""
        taken = self._taken
        labels, num_rows = taken.labels(), len(taken.scores)
        start = 0
        for shards in taken.scores.shards():
            matrix = borrow_matrix("scores", shards)
            stop = start + matrix.num_rows
            rows, classes = labels.rows, labels.classes
            if matrix.num_rows != num_rows:
                local = (rows >= start) & (rows < stop)
                rows, classes = rows[local], classes[local]
            pairs = LabelPairs(matrix.num_rows, self.num_classes, rows - start, classes)
            positives = Positives.from_labels(pairs, matrix.num_rows, self.num_classes)
            if labels.unknown is not None:
                here = np.zeros(num_rows, bool)
                here[start:stop] = True
                positives = positives.with_unknown(labels.unknown if here.all() else labels.unknown.select(here))
            yield Chunk(matrix, positives, None if labels.ids is None else labels.ids[start:stop], start)
            start = stop


def _state_of_unknown(unknown: UnknownCells) -> dict[str, np.ndarray]:
    """Unknown cells as arrays of a state: signed, because torch does not have all unsigned dtypes."""
    if unknown.bits is not None:
        return {"unknown_bits": unknown.bits.view(np.int64)}
    rows, classes = unknown.pairs()
    return {"unknown_rows": rows.astype(np.int64), "unknown_classes": classes.astype(np.int64)}


def _unknown_of_state(state: Mapping[str, Any], num_rows: int, num_classes: int) -> UnknownCells | None:
    """The unknown cells of a state. Raises ValueError if they do not fit."""
    if "unknown_bits" in state:
        bits = read_numbers("unknown_bits", state["unknown_bits"])
        rest = num_rows % 64
        fits = bits.dtype == np.int64 and bits.shape == (num_classes, -(-num_rows // 64))
        if not fits or (rest and bits.size and (bits[:, -1].view(np.uint64) >> np.uint64(rest)).any()):
            raise ValueError(f"state: expected bits of {num_rows} rows and {num_classes} classes, got {bits.shape}")
        return UnknownCells.of_bits(np.ascontiguousarray(bits).view(np.uint64), num_rows)
    if "unknown_rows" not in state:
        return None
    cells = tuple(read_numbers(name, state[name]) for name in ("unknown_rows", "unknown_classes"))
    return unknown_of_mask(cells, num_rows, num_classes)


def check_no_labels(labels: Any) -> None:
    """Check that labels which come with no scores have no rows either.

    Raises:
        ValueError: The labels have rows.
    """
    shape = getattr(labels, "shape", None)
    num_rows = shape[0] if shape else getattr(labels, "num_rows", None)
    if num_rows is None and hasattr(labels, "__len__"):
        num_rows = len(labels)
    if num_rows:
        raise ValueError(f"labels: {num_rows} rows, but scores has 0")


def check_whole(name: str, value: int, least: int) -> int:
    """Check an integer argument and return it as an int.

    Raises:
        TypeError: The value is no integer.
        ValueError: The value is below ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name}: expected an integer from {least} up, got {value}")
    return int(value)
