"""Types of the compiled core (csrc/bindings). The core trusts its callers: `vltr_eval` checks the arguments first.

An offset is (C + 1,) int64: the rows, or the thresholds, of class c stand at offset[c] to offset[c + 1]. A build
without CUDA has none of the names for devices.
"""

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

_Int32 = NDArray[np.int32]
_Int64 = NDArray[np.int64]
_UInt8 = NDArray[np.uint8]
_UInt32 = NDArray[np.uint32]
_Float64 = NDArray[np.float64]
_Progress = Callable[[float], object] | None
_Thresholds = tuple[_Int64, NDArray[Any]]
_Cells = tuple[_Int64 | None, _UInt32 | None, NDArray[np.uint64] | None]  # offset, rows, bits
_TableColumns = tuple[_Int64, NDArray[Any], _Int64, _Int64, _Int64]  # offset, keys, tp, fp, tied

__version__: str
DTYPES: tuple[str, ...]

class BadValue(ValueError):
    """A label or a score that no metric takes. args: the sentence, the row, the class."""

# Borrowed memory

class Matrix:
    """A borrowed (N, C) matrix: row shards of one dtype. The caller keeps the memory alive."""

    def __init__(self, dtype: int, cols: int) -> None: ...
    def append(self, address: int, rows: int, row_stride: int, col_stride: int, /) -> None: ...
    def leave_out(self, unknown: UnknownCells) -> Matrix: ...

class UnknownCells:
    """Cells that are neither positive nor negative of their class, as lists or as bits.

    It keeps its arrays alive; nobody may change them.
    """

    @overload
    def __init__(self, num_rows: int, offset: _Int64, rows: _UInt32) -> None: ...
    @overload
    def __init__(self, num_rows: int, bits: NDArray[np.uint64]) -> None: ...
    @property
    def counts(self) -> _Int64: ...

class Tensor:
    """A borrowed array of any rank. The caller keeps the memory alive. device: -1 for CPU memory."""

    def __init__(
        self, address: int, shape: Sequence[int], strides: Sequence[int], dtype: int, device: int, stream: int
    ) -> None: ...
    def item(self, index: Sequence[int]) -> Any: ...
    def assign(self, values: NDArray[Any]) -> None: ...

def from_dlpack(
    capsule: Any,
) -> tuple[int, tuple[int, ...], tuple[int, ...], str, Any, bool, tuple[int, int]]: ...
def read_floor(address: int, bytes: int, threads: int, /) -> int: ...
def build_info() -> dict[str, Any]: ...

# Records of TFRecord files

def crc32c(data: Any) -> int: ...
def index_records(data: Any, threads: int, progress: _Progress) -> tuple[_Int64, _Int64, int, int]: ...
def parse_records(
    data: Any,
    offset: _Int64,
    length: _Int64,
    features: Sequence[tuple[str, int, bool]],
    threads: int,
    progress: _Progress,
) -> tuple[list[tuple[_Int64, NDArray[np.uint8], Any]], int, int, int]: ...
def expand_bytes(data: Any, spans: _Int64, table: NDArray[Any], out: NDArray[Any]) -> int: ...

# Devices

def device_count() -> int: ...
def why_no_device() -> str: ...
def device_of(address: int, /) -> int: ...
def wait_for(device: int, stream: int, other: int) -> None: ...
def copy_rows(source: Tensor, to: Tensor) -> None: ...

class Event:
    """A point in the work of a stream: all work before the construction of the event."""

    def __init__(self, device: int, stream: int) -> None: ...
    def done(self) -> bool: ...

def address_of(array: NDArray[Any], /) -> int: ...

class DeviceArray:
    """An array in device memory, not yet filled."""

    def __init__(self, shape: Sequence[int], dtype: int, device: int, stream: int) -> None: ...
    @property
    def address(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def to_numpy(self) -> NDArray[Any]: ...

class CudaMatrix:
    """A borrowed (N, C) matrix in device memory, and the stream that its content is ordered on."""

    def __init__(self, dtype: int, cols: int, device: int, stream: int) -> None: ...
    def append(self, address: int, rows: int, row_stride: int, col_stride: int, /) -> None: ...
    def leave_out(self, unknown: UnknownCells | CudaUnknownCells) -> CudaMatrix: ...

class CudaUnknownCells:
    """The cells that are neither positive nor negative of their class, in device memory."""

    @property
    def device(self) -> int: ...
    @property
    def counts(self) -> _Int64: ...
    def to_numpy(self) -> NDArray[np.uint64]: ...
    def first_positive(self, positives: CudaPositives) -> tuple[int, int] | None: ...

class CudaPositives:
    """The positive rows of each class, in device memory."""

    @property
    def device(self) -> int: ...
    def to_numpy(self) -> tuple[_Int64, _UInt32]: ...

class CudaRankTable:
    """A rank table in device memory."""

    def to_numpy(self) -> _TableColumns: ...

# Labels

@overload
def find_positives(labels: Matrix, threads: int, progress: _Progress, /) -> tuple[_Int64, _UInt32]: ...
@overload
def find_positives(
    labels: CudaMatrix, threads: int, progress: _Progress, marks: int = 0, unread: CudaUnknownCells | None = None
) -> CudaPositives: ...
def find_label_cells(
    labels: Matrix, nan: bool, threads: int, progress: _Progress
) -> tuple[tuple[_Int64, _UInt32], _Cells]: ...
@overload
def find_unknown(mask: Matrix, threads: int, progress: _Progress) -> _Cells: ...
@overload
def find_unknown(labels: CudaMatrix, marks: int, others: CudaUnknownCells | None = None) -> CudaUnknownCells: ...
def read_mask(mask: CudaMatrix) -> CudaUnknownCells: ...
def upload_unknown(labels: CudaMatrix, unknown: UnknownCells) -> CudaUnknownCells: ...
def index_positives(indices: CudaMatrix, classes: int, /) -> CudaPositives: ...
def upload_positives(scores: CudaMatrix, offset: _Int64, rows: _UInt32, /) -> CudaPositives: ...

# The pass over the scores

@overload
def rank_scan(
    scores: Matrix,
    offset: _Int64,
    rows: _UInt32,
    trials: int,
    seed: int,
    ranks: bool,
    given: _Thresholds | None,
    threads: int,
    progress: _Progress,
) -> tuple[_TableColumns, _Float64 | None, NDArray[np.int32] | None]: ...
@overload
def rank_scan(
    scores: CudaMatrix,
    positives: CudaPositives,
    trials: int,
    seed: int,
    ranks: bool,
    given: _Thresholds | None,
    threads: int,
    progress: _Progress,
) -> tuple[CudaRankTable, _Float64 | None, NDArray[np.int32] | None]: ...
def scan_metric(scores: Matrix, offset: _Int64, rows: _UInt32, metric: str, threads: int) -> _Float64: ...
@overload
def positive_scores(scores: Matrix, offset: _Int64, rows: _UInt32, threads: int, /) -> _TableColumns: ...
@overload
def positive_scores(scores: CudaMatrix, positives: CudaPositives, threads: int, /) -> _TableColumns: ...
def count_reached(
    scores: Matrix | CudaMatrix, rows: _UInt32, classes: _UInt32, thresholds: _Thresholds, threads: int
) -> _UInt32: ...
@overload
def weighted_average_precision(
    scores: Matrix, offset: _Int64, rows: _UInt32, weights: _Float64, threads: int, /
) -> _Float64: ...
@overload
def weighted_average_precision(
    scores: CudaMatrix, positives: CudaPositives, sample_weight: CudaMatrix, threads: int, /
) -> _Float64: ...
def weighted_average_precisions(
    scores: Matrix, offset: _Int64, rows: _UInt32, weights: _Float64, threads: int, /
) -> _Float64: ...

# Ties in row order

def count_tied_before(
    scores: Matrix,
    offset: _Int64,
    rows: _UInt32,
    thresholds: _Thresholds,
    start: _Int64,
    threads: int,
    progress: _Progress,
    ranges: bool = False,
) -> _UInt32: ...

# Curves over all thresholds

def score_curves(
    scores: Matrix,
    offset: _Int64,
    rows: _UInt32,
    requests: Sequence[tuple[int, bool, int, int]],
    threads: int,
    progress: _Progress,
) -> list[tuple[_Int64, NDArray[Any], _Int64, _Int64, _Int64]]: ...

# Thresholds of all classes, and ranks within rows

def count_at_common(
    scores: Matrix, thresholds: NDArray[Any], pooled: bool, threads: int, progress: _Progress
) -> _Int64: ...
def count_at_both(
    scores: Matrix, thresholds: NDArray[Any], of_classes: _Int64, threads: int, progress: _Progress
) -> tuple[_Int64, _Int64]: ...
def count_in_rows(
    scores: Matrix, offset: _Int64, classes: _UInt32, bounds: NDArray[Any], threads: int, progress: _Progress
) -> _UInt32: ...
def top_of_rows(
    scores: Matrix, offset: _Int64, classes: _UInt32, k: int, preference: int, threads: int, progress: _Progress
) -> tuple[_Int32, NDArray[Any], _UInt8, int]: ...

# Details of single classes

def class_extremes(
    scores: Matrix, offset: _Int64, rows: _UInt32, limit: int, threads: int, progress: _Progress
) -> tuple[NDArray[Any], NDArray[Any], _Int64, NDArray[Any], _Int64, NDArray[Any]]: ...
def score_histograms(
    scores: Matrix,
    offset: _Int64,
    rows: _UInt32,
    low: NDArray[Any],
    high: NDArray[Any],
    bins: int,
    threads: int,
    progress: _Progress,
) -> tuple[_UInt32, _UInt32]: ...

# Effects of rows; a metric is its number in vltr_eval._engine.effects.METRICS

@overload
def row_effects(
    scores: Matrix,
    offset: _Int64,
    rows: _UInt32,
    table: _TableColumns,
    num_rows: int,
    groups: _Int64,
    num_groups: int,
    metrics: Sequence[int],
    prevalence: float,
    threads: int,
    progress: _Progress,
    unknown: _Int64 | None = None,
) -> tuple[_Int64, _Int64]: ...
@overload
def row_effects(
    scores: CudaMatrix,
    positives: CudaPositives,
    table: _TableColumns,
    num_rows: int,
    groups: _Int64,
    num_groups: int,
    metrics: Sequence[int],
    prevalence: float,
    threads: int,
    progress: _Progress,
    unknown: _Int64 | None = None,
) -> tuple[_Int64, _Int64]: ...
def class_variances(
    offset: _Int64,
    tp: _Int64,
    fp: _Int64,
    tied: _Int64,
    num_rows: int,
    metric: int,
    prevalence: float,
    threads: int,
    unknown: _Int64 | None = None,
) -> _Float64: ...
def clustered_variances(
    scores: Matrix,
    table: _TableColumns,
    offset: _Int64,
    rows: _UInt32,
    clusters: _UInt32,
    num_clusters: int,
    metric: int,
    prevalence: float,
    threads: int,
    progress: _Progress,
) -> _Float64: ...
def paired_variances(
    scores_a: Matrix,
    table_a: _TableColumns,
    scores_b: Matrix,
    table_b: _TableColumns,
    offset: _Int64,
    rows: _UInt32,
    clusters: _UInt32 | None,
    num_clusters: int,
    metric: int,
    prevalence: float,
    threads: int,
    progress: _Progress,
) -> _Float64: ...

# Sampled AP

def draw_rows(
    offset: _Int64,
    rows: _UInt32,
    num_rows: int,
    first_trial: int,
    trials: int,
    seed: int,
    threads: int,
    unknown: UnknownCells | None = None,
) -> _UInt32: ...
def draw_negatives(
    positives: _UInt32, num_rows: int, cls: int, trial: int, seed: int, excluded: _UInt32 | None = None
) -> _UInt32: ...
def average_trials(
    offset: _Int64,
    tp: _Int64,
    fp: _Int64,
    drawn: NDArray[np.int32],
    num_rows: int,
    threads: int,
    unknown: _Int64 | None = None,
) -> _Float64: ...

# Metrics of each class of a rank table: (C,)

@overload
def average_precision(
    offset: _Int64, tp: _Int64, fp: _Int64, tied: _Int64, num_rows: int, threads: int, /
) -> _Float64: ...
@overload
def average_precision(table: CudaRankTable, num_rows: int, threads: int, /) -> _Float64: ...
@overload
def calibrated_average_precision(
    offset: _Int64,
    tp: _Int64,
    fp: _Int64,
    tied: _Int64,
    num_rows: int,
    threads: int,
    prevalence: float,
    unknown: _Int64 | None = None,
) -> _Float64: ...
@overload
def calibrated_average_precision(
    table: CudaRankTable, num_rows: int, threads: int, prevalence: float, /
) -> _Float64: ...
@overload
def roc_auc(
    offset: _Int64,
    tp: _Int64,
    fp: _Int64,
    tied: _Int64,
    num_rows: int,
    threads: int,
    unknown: _Int64 | None = None,
) -> _Float64: ...
@overload
def roc_auc(table: CudaRankTable, num_rows: int, threads: int, /) -> _Float64: ...
@overload
def expected_sampled_average_precision(
    offset: _Int64,
    tp: _Int64,
    fp: _Int64,
    tied: _Int64,
    num_rows: int,
    threads: int,
    progress: _Progress = None,
    unknown: _Int64 | None = None,
) -> _Float64: ...
@overload
def expected_sampled_average_precision(table: CudaRankTable, num_rows: int, threads: int, /) -> _Float64: ...
@overload
def sampled_average_precision_chance(
    offset: _Int64,
    tp: _Int64,
    fp: _Int64,
    tied: _Int64,
    num_rows: int,
    threads: int,
    unknown: _Int64 | None = None,
) -> _Float64: ...
@overload
def sampled_average_precision_chance(table: CudaRankTable, num_rows: int, threads: int, /) -> _Float64: ...

# Everything that a report takes from a rank table and from ranks

def class_statistics(
    offset: _Int64,
    tp: _Int64,
    fp: _Int64,
    tied: _Int64,
    num_rows: int,
    threads: int,
    unknown: _Int64 | None = None,
) -> tuple[_Float64, _Float64, _Float64, _Int64, _Float64, _Float64]: ...
def count_hits(
    ranks: NDArray[np.int32], offset: _Int64, rows: _UInt32, topk: Sequence[int], threads: int, /
) -> tuple[int, _Int64, _Int64]: ...
def bootstrap_weights(
    units: int, replicates: int, method: str, seed: int, first: int, threads: int
) -> NDArray[np.uint8]: ...
def bootstrap(
    scores: Matrix,
    offset: _Int64,
    rows: _UInt32,
    clusters: _UInt32 | None,
    num_clusters: int,
    replicates: int,
    method: str,
    seed: int,
    metrics: Sequence[str],
    ranks: NDArray[np.int32] | None,
    topk: Sequence[int],
    threads: int,
    progress: _Progress,
) -> tuple[dict[str, _Float64], _Float64, _Float64]: ...
def calibration_sums(
    scores: Matrix, offset: _Int64, rows: _UInt32, bins: int, threads: int, progress: _Progress
) -> _Int64: ...
def reduce_rows(
    scores: Matrix, offset: _Int64, rows: _UInt32, how: int, out: Tensor, threads: int, progress: _Progress
) -> None: ...
def exact_sums(values: _Float64, offset: _Int64, threads: int, /) -> _Float64: ...

# Running AP

def append_batch(
    scores: Tensor,
    labels: Tensor,
    to_scores: Tensor,
    to_labels: Tensor,
    first_row: int,
    first_bad: Tensor,
    threads: int,
) -> None: ...

# Frames

def frame_stack(
    features: Tensor,
    targets: Tensor | None,
    rap: Tensor | None,
    partner: Tensor,
    beta: Tensor | float | None,
    mixed: int,
    label_rule: int,
    per_class: bool,
    partner_first: bool,
    out_features: Tensor,
    out_targets: Tensor | None,
    out_beta: Tensor,
    out_partner: Tensor | None,
    threads: int,
) -> None: ...
def frame_stack_gradient(
    gradient: Tensor, partner: Tensor, beta: Tensor, mixed: int, partner_first: bool, out: Tensor, threads: int
) -> None: ...
def gather_frames(
    store: Tensor, offsets: Tensor, videos: Tensor, frame_indices: Tensor, out: Tensor, threads: int
) -> None: ...
def sample_frames(
    lengths: Tensor, samples: Tensor | None, mode: int, seed: int, epoch: int, out: Tensor, threads: int
) -> None: ...
def dynamic_frame_masks(
    targets: Tensor, bounds: Tensor, samples: Tensor | None, seed: int, epoch: int, out: Tensor, threads: int
) -> None: ...

# VLAD

def scale_vlad(
    sums: Tensor,
    mass: Tensor | None,
    centers: Tensor | None,
    factors: Tensor | None,
    whole: bool,
    out_lengths: Tensor,
    threads: int,
) -> None: ...
def scale_vlad_gradient(
    vectors: Tensor,
    gradient: Tensor,
    mass: Tensor | None,
    centers: Tensor | None,
    factors: Tensor | None,
    whole: bool,
    lengths: Tensor,
    coefficients: Tensor,
    out: Tensor,
    out_mass: Tensor | None,
    out_centers: Tensor | None,
    out_factors: Tensor | None,
    threads: int,
) -> None: ...
def multiply(a: Tensor, b: Tensor, out: Tensor, threads: int) -> None: ...

# Ranked lists

def sort_lists(
    offset: _Int64,
    classes: _Int32,
    scores: NDArray[Any] | None,
    num_classes: int,
    threads: int,
    progress: _Progress,
) -> tuple[_Int32, NDArray[Any] | None, _Float64 | None]: ...
def mark_listed(
    offset: _Int64, classes: _Int32, other_offset: _Int64, others: _Int32, threads: int, progress: _Progress
) -> _UInt8: ...
def pooled_precision(
    offset: _Int64, scores: NDArray[Any], hits: _UInt8, depth: int, threads: int, progress: _Progress
) -> float: ...
def class_bounds(
    offset: _Int64,
    classes: _Int32,
    scores: NDArray[Any],
    hits: _UInt8,
    limits: _Float64,
    hidden_offset: _Int64,
    hidden_rows: _UInt32,
    unknown_offset: _Int64,
    unknown_rows: _UInt32,
    threads: int,
    progress: _Progress,
) -> tuple[_Float64, _Float64, _Float64, _Float64, _UInt8, _UInt8]: ...
def read_box_text(
    text: _UInt8,
    boxes: bool,
    video: _Int32,
    time: _Float64,
    corners: _Float64,
    cls: _Int32,
    score: _Float64,
    threads: int,
) -> tuple[int, int, int, list[bytes], _Int32 | None, _Int32, _Float64] | None: ...
def order_boxes(
    rows: _Int64,
    offset: _Int64,
    cls: _Int32,
    corners: _Float64,
    score: _Float64,
    limit: int,
    threads: int,
    progress: _Progress,
) -> _Int64: ...
def read_list_text(
    text: _UInt8, form: int, threads: int, progress: _Progress
) -> tuple[_Int64, _Int32, _Int64, _Int32, _Float64] | tuple[int, int, int, int]: ...
