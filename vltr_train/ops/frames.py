"""Frames of videos: StackedClips's mixing, gathers from a flat store, frame sampling, and MOVE's dynamic frame sampler.

Functions take arrays of any library, in CPU memory or on one CUDA device, and give the same bits on both. A result is
where the first array is, and of its library (mixed labels: of that of targets); where that is no library which gives
memory to be filled, it is numpy's, or on a device an array that offers DLPack. `dynamic_frame_bounds`, which is called
once a training, takes and gives CPU memory alone.

On a device a call is one launch on the stream of its first array, and nothing waits for it. So what is refused in CPU
memory by the position of a value (an index, a length) cannot be refused there: it spoils the results that depend on it,
as each function describes, and nothing is read out of bounds.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arguments import check_seed
from vltr_eval._base.arrays import Array, borrow, common_device, empty_like, num_threads, release_inputs_after_launch

__all__ = [
    "StackedClips",
    "dynamic_frame_bounds",
    "dynamic_frame_masks",
    "frame_stack",
    "gather_frames",
    "sample_frames",
]

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_MAX_CLIP = 2**16  # frames of a clip: products of two such numbers fit in 32 bits
_MAX_DRAWS = 2**24  # words that the counter of the generator has for a purpose
_MAX_MASKS = 2**22
_DISTINCT = 2  # of SampleMode in csrc/core/frame_core.hpp, after "uniform" and "random" with replacement


class StackedClips(NamedTuple):
    """Mixed clips, the result of `frame_stack`.

    Attributes:
        features: (B, L, D), of the dtype of the features.
        targets: (B, C) float32 or float64.
        beta: (B,) float32, the partner's share of the label.
    """

    features: Any
    targets: Any
    beta: Any

    def __repr__(self) -> str:
        return f"StackedClips({', '.join(f'{name} {tuple(part.shape)}' for name, part in self._asdict().items())})"


def frame_stack(
    features: Any,
    targets: Any,
    rap: Any,
    partner: Any,
    clip_length: int,
    *,
    num_mixed: int | None = None,
    beta: Any = None,
    multilabel_rap: str = "sum",
    eps_scale: str = "code",
    order: str = "partner_first",
    out: Any = None,
    threads: int | None = None,
) -> StackedClips:
    """Mix each clip with frames of its partner, and their labels alike: FrameStack.

    A row whose classes are known better gets more frames of its partner. With s the score of a row, the sum of
    target x rap over its classes: beta = s_i / (s_i + s_j). It is 0.5 if that is undefined (s_i + s_j below 1e-5 or
    NaN, a share outside [0, 1]). floor(beta L) frames come from the partner and the rest from the row. The k-th of F
    frames is frame floor(k (T - 1) / (F - 1)) of T. The label is (1 - beta) y_i + beta y_j. All is computed in float32,
    labels of float64 in float64; integer and bool labels become float32.

    Gradients of torch flow to features, backwards and of any order, and to nothing else. Later changes of partner do
    not affect them.

    Args:
        features: (B, T, D) float16, bfloat16, float32 or float64; any strides over B and T.
        targets: (B, C) of any real dtype.
        rap: (C,), the running AP of each class, or its training count for the paper's "CF". NaN is allowed for a class
            that no sample has. It may be None if beta is given.
        partner: (B,) or (num_mixed,) integers: row i is mixed with row partner[i]; need not be a permutation.
        clip_length: L.
        num_mixed: Mix only the first rows, among themselves. The rest stay unchanged, with beta 0, and L must be T.
        beta: A constant from [0, 1] or a (B,) float32 array, instead of the shares from labels and rap.
        multilabel_rap: "sum" (published code), "mean" over the labels (weighted by targets) or "min".
        eps_scale: "code" divides s by C before the threshold, as the published code does; "paper" does not.
        order: "partner_first" (code) or "own_first" (paper).
        out: A C-ordered (B, L, D) array of the features' dtype to fill, apart from the features. In CPU memory it saves
            an allocation each step, which takes longer than the mixing.
        threads: Threads of the core.

    Returns:
        `StackedClips`.

    Raises:
        ValueError: An argument does not fit. On a device, a row with a partner outside the mixed rows, or with a given
            beta outside [0, 1], is NaN in all three results instead.
        TypeError: An array has a wrong dtype.

    Source: VideoLT, arXiv 2105.02668.

    Example:
        >>> clips = np.float32([[[0], [1], [2]], [[10], [11], [12]]])
        >>> stacked = frame_stack(clips, np.eye(2, dtype=np.float32), np.float32([.6, .3]), [1, 0], 3)
        >>> stacked.features[:, :, 0]
        array([[10., 12.,  0.],
               [ 0., 10., 12.]], dtype=float32)
        >>> stacked.targets
        array([[0.3333333 , 0.6666667 ],
               [0.33333334, 0.6666666 ]], dtype=float32)
    """
    clips = _borrow_frames("features", features, 3)
    num_rows, num_frames, _ = clips.shape
    if num_frames > _MAX_CLIP:
        raise ValueError(f"features: expected at most {_MAX_CLIP} frames a clip, got shape {clips.shape}")
    labels = _borrow_labels(targets, num_rows)
    length = _check_count("clip_length", clip_length, _MAX_CLIP)
    mixed = num_rows if num_mixed is None else _check_count("num_mixed", num_mixed, num_rows, least=0)
    if mixed < num_rows and length != num_frames:
        raise ValueError(
            f"clip_length: expected the {num_frames} frames of features, where only {mixed} of {num_rows} rows are "
            f"mixed, got {length}"
        )
    partners = _borrow_integers("partner", partner)
    if partners.shape not in ((num_rows,), (mixed,)):
        raise ValueError(f"partner: expected shape ({mixed},) or ({num_rows},), got {partners.shape}")
    arrays = {"features": clips, "targets": labels, "partner": partners}
    scores = shares = out_partner = None
    if rap is not None:
        scores = arrays["rap"] = borrow("rap", rap)
        if scores.shape != labels.shape[1:]:
            raise ValueError(f"rap: expected shape {labels.shape[1:]} as targets has classes, got {scores.shape}")
    if beta is not None:
        shares = _check_beta(beta, num_rows)
        if isinstance(shares, Array):
            arrays["beta"] = shares
    elif rap is None:
        raise ValueError("rap: expected an array where no beta is given, got None")
    for name, array in (("targets", targets), ("rap", rap), ("beta", beta)):
        _check_no_gradient(name, array)
    _check_no_tangent("features", features)
    if out is not None:
        if _wants_gradient(features):
            raise ValueError("out: expected None where features require a gradient, got an array")
        arrays["out"] = _borrow_output(out, (num_rows, length, clips.shape[2]))
        if arrays["out"].dtype != clips.dtype:
            raise ValueError(f"out: expected {clips.dtype} as features, got {arrays['out'].dtype}")
    stacking = _Stacking(
        num_frames,
        length,
        mixed,
        _choose("multilabel_rap", multilabel_rap, ("sum", "mean", "min")),
        _choose("eps_scale", eps_scale, ("paper", "code")) == 1,
        _choose("order", order, ("own_first", "partner_first")) == 1,
        num_threads(threads),
    )
    mixed_dtype = labels.dtype if labels.dtype in _FLOATS else "float32"
    out_targets = _new_like("targets", labels, labels.shape, mixed_dtype)
    arrays["mixed targets"] = borrow("targets", out_targets)  # its memory is ready on the stream of the targets
    device = common_device(**arrays)
    out_beta = _new_shares(clips)
    if _wants_gradient(features):
        out_partner = empty_like(clips, (num_rows,), "int64")
    out_features = stacking.stack(clips, partners, shares, out_beta, labels, scores, out_targets, out_partner, out)
    if out_partner is not None:
        from vltr_train.ops.autograd import attach_gradient

        out_features = attach_gradient(out_features, features, out_partner, out_beta, stacking.gather, stacking.scatter)
    release_inputs_after_launch(device, *arrays.values())
    _note_change(out)
    return StackedClips(out_features, out_targets, out_beta)


@dataclass(frozen=True)
class _Stacking:
    """The arguments of a call that its gradients need as well, and the maps of the gradients."""

    num_frames: int
    clip_length: int
    num_mixed: int
    label_rule: int
    per_class: bool
    partner_first: bool
    threads: int

    def stack(
        self,
        clips: Array,
        partner: Array,
        given_beta: Array | float | None,
        beta: Any,
        labels: Array | None = None,
        scores: Array | None = None,
        out_targets: Any = None,
        out_partner: Any = None,
        out: Any = None,
    ) -> Any:
        """The stacked clips; fills beta, the mixed labels where there are labels, and a copy of the partners."""
        num_rows, _, dims = clips.shape
        if out is None:
            out = _new_like("features", clips, (num_rows, self.clip_length, dims), clips.dtype)
        try:
            _core.frame_stack(
                clips.core,
                None if labels is None else labels.core,
                None if scores is None else scores.core,
                partner.core,
                given_beta.core if isinstance(given_beta, Array) else given_beta,
                self.num_mixed,
                self.label_rule,
                self.per_class,
                self.partner_first,
                borrow("out", out).core,
                None if labels is None else borrow("out", out_targets).core,
                borrow("out", beta).core,
                None if out_partner is None else borrow("out", out_partner).core,
                self.threads,
            )
        except _core.BadValue as error:
            name, row, _ = error.args
            array, expected = {
                "partner": (partner, f"a row from 0 to {self.num_mixed - 1}"),
                "beta": (given_beta, "from 0 to 1"),
            }[name]
            value = array.core.item((row,)) if isinstance(array, Array) else array
            raise ValueError(f"{name}: expected {expected}, got {value} at row {row}") from None
        return out

    def gather(self, values: Any, partner: Any, beta: Any) -> Any:
        """The stacked clips alone, for a beta that is known: a linear map."""
        clips, shares = borrow("gradient", values), borrow("beta", beta)
        return self.stack(clips, borrow("partner", partner), shares, _new_shares(clips))

    def scatter(self, values: Any, partner: Any, beta: Any) -> Any:
        """The transpose of `gather`."""
        gradient = borrow("gradient", values)
        num_rows, _, dims = gradient.shape
        out = empty_like(gradient, (num_rows, self.num_frames, dims), gradient.dtype)
        _core.frame_stack_gradient(
            gradient.core,
            borrow("partner", partner).core,
            borrow("beta", beta).core,
            self.num_mixed,
            self.partner_first,
            borrow("out", out).core,
            self.threads,
        )
        return out


def gather_frames(
    store: Any,
    offsets: Any,
    videos: Any,
    frame_indices: Any,
    *,
    dtype: Any = None,
    out: Any = None,
    pin_memory: bool = False,
    threads: int | None = None,
) -> Any:
    """Gather chosen frames of many videos from one flat array of all their frames.

    Args:
        store: (F, D) float16, bfloat16, float32 or float64, in memory, memory-mapped or on a device. The threads of the
            call read a memory map, and only at the chosen frames.
        offsets: (V + 1,) int64: video v has rows offsets[v] to offsets[v + 1] - 1.
        videos: (B,) integers.
        frame_indices: (B, K) integers, counted within the video.
        dtype: The dtype of the result; default: that of the store.
        out: A C-ordered array (B, K, D) to fill, whose dtype is the result's. It is not touched if an input is refused,
            and autograd takes it as changed in place.
        pin_memory: Return a torch tensor in page-locked CPU memory, for asynchronous copies to a device.
        threads: Threads of the core.

    Returns:
        (B, K, D), rounded once to nearest, ties to even; no gradients.

    Raises:
        ValueError: An argument does not fit, or a video or frame does not exist; its position is named. On a device
            such a frame is a row of NaN instead.

    Example:
        >>> store = np.arange(5, dtype=np.float16)[:, None]  # video 0 has 2 frames, video 1 has 3
        >>> gather_frames(store, np.array([0, 2, 5]), [1, 0], [[0, 2], [1, 1]], dtype="float32")[:, :, 0]
        array([[2., 4.],
               [1., 1.]], dtype=float32)
    """
    frames = _borrow_frames("store", store, 2)
    _check_no_gradient("store", store)
    bounds, rows = _borrow_integers("offsets", offsets), _borrow_integers("videos", videos)
    picks = _borrow_integers("frame_indices", frame_indices, rank=2)
    if bounds.dtype != "int64" or bounds.shape[0] < 2:
        raise ValueError(
            f"offsets: expected int64 of shape (V + 1,), V at least 1, got {bounds.dtype} of shape {bounds.shape}"
        )
    if rows.shape != picks.shape[:1]:
        raise ValueError(f"videos: expected shape {picks.shape[:1]} as frame_indices has rows, got {rows.shape}")
    arrays = {"store": frames, "offsets": bounds, "videos": rows, "frame_indices": picks}
    shape = (*picks.shape, frames.shape[1])
    count = num_threads(threads)
    if out is not None:
        if dtype is not None or pin_memory:
            raise ValueError("out: expected neither dtype nor pin_memory beside it, got one of them")
        arrays["out"] = _borrow_output(out, shape)
    device = common_device(**arrays)
    if out is None:
        out = _new_output(frames, shape, frames.dtype if dtype is None else _float_name("dtype", dtype), pin_memory)
        arrays["out"] = borrow("out", out)
    try:
        _core.gather_frames(frames.core, bounds.core, rows.core, picks.core, borrow("out", out).core, count)
    except _core.BadValue as error:
        raise _bad_pick(error, arrays) from None
    release_inputs_after_launch(device, *arrays.values())
    _note_change(out)
    return out


def sample_frames(
    lengths: Any,
    num_frames: int,
    *,
    mode: str = "random",
    replacement: bool = True,
    seed: int = 0,
    epoch: int = 0,
    samples: Any = None,
    threads: int | None = None,
) -> Any:
    """Choose frames of each video: (B, num_frames) int64, ascending in each row.

    A draw depends on seed, epoch and sample alone, not on the rest of the batch.

    Args:
        lengths: (B,) integers, the frames of each video.
        num_frames: Frames to choose; on a device at most 2**16.
        mode: "random" as in training, or "uniform" as in evaluation: frame floor(k (n - 1) / (num_frames - 1)).
        replacement: Draw with replacement, as the published code does. Without, a video of n < num_frames frames gives
            every frame num_frames // n times, and the rest is drawn without replacement.
        seed: From 0 to 2**64 - 1.
        epoch: From 0 to 2**32 - 1.
        samples: (B,) integers, the id of each sample; default: its row.
        threads: Threads of the core.

    Returns:
        (B, num_frames) int64 on the device of lengths.

    Raises:
        ValueError: A length is below 1 or above 2**32 - 1. On a device its row is -1 throughout instead.

    Example:
        >>> sample_frames([100, 3], 4, mode="uniform")
        array([[ 0, 33, 66, 99],
               [ 0,  0,  1,  2]])
        >>> sample_frames([100, 3], 4, replacement=False, seed=1)
        array([[ 1, 42, 55, 69],
               [ 0,  1,  2,  2]])
    """
    videos = _borrow_integers("lengths", lengths)
    # A device ranks every draw among all of its sample: 2**16 of them keep it busy for milliseconds.
    most = _MAX_DRAWS if videos.device.index is None else _MAX_CLIP
    shape = (videos.shape[0], _check_count("num_frames", num_frames, most))
    how = _choose("mode", mode, ("uniform", "random"))
    if not isinstance(replacement, (bool, np.bool_)):
        raise TypeError(f"replacement: expected True or False, got {replacement!r}")
    if mode == "random" and not replacement:
        how = _DISTINCT
    arrays = {"lengths": videos}
    ids = _borrow_ids(samples, arrays, shape[0])
    draw = (check_seed(seed), _check_count("epoch", epoch, 2**32 - 1, least=0))
    count = num_threads(threads)
    device = common_device(**arrays)
    out = empty_like(videos, shape, "int64")
    try:
        of_samples = None if ids is None else ids.core
        _core.sample_frames(videos.core, of_samples, how, *draw, borrow("out", out).core, count)
    except _core.BadValue as error:
        row = error.args[1]
        raise ValueError(
            f"lengths: expected from 1 to 2**32 - 1, got {videos.core.item((row,))} at row {row}"
        ) from None
    release_inputs_after_launch(device, *arrays.values())
    return out


def dynamic_frame_masks(
    targets: Any,
    bounds: Any,
    num_frames: int,
    *,
    num_masks: int = 5,
    seed: int = 0,
    epoch: int = 0,
    samples: Any = None,
    threads: int | None = None,
) -> Any:
    """Draw the masks of MOVE's dynamic frame sampler: (B, num_masks, T) bool, True for a chosen frame.

    Each mask of a sample chooses n of its T frames at random, n itself at random from m to T. m is the mean bound of
    the sample's labels, rounded down, from [1, T]. Samples of rarer classes may have fewer frames.

    The paper keeps the chosen frames: multiply frames (or the keys and pooling weights of attention) by the mask. So
    does the published code, except for the key mask of its attention: it blocks the chosen frames and keeps the others,
    which is ``~mask``. It draws five masks a sample: two queries, the key mask, and two codebook views.

    Args:
        targets: (B, C) of any real dtype; they weight the mean. Without a label m is 1.
        bounds: (C,), from `dynamic_frame_bounds`, on the device of targets: move them once, by
            ``torch.as_tensor(bounds, device=targets.device)``. NaN is allowed for a class that no sample has.
        num_frames: T.
        num_masks: Masks of each sample.
        seed: See `sample_frames`.
        epoch: See `sample_frames`.
        samples: See `sample_frames`.
        threads: Threads of the core.

    Returns:
        (B, num_masks, T) bool.

    Raises:
        ValueError: An argument does not fit.

    Example:
        >>> masks = dynamic_frame_masks(np.eye(2, dtype=bool), [3., 60.], 60, seed=3)
        >>> masks.sum(axis=2)
        array([[27,  8, 59, 29, 12],
               [60, 60, 60, 60, 60]])
    """
    labels = _borrow_labels(targets, None)
    lowest = borrow("bounds", bounds)
    if lowest.shape != labels.shape[1:]:
        raise ValueError(f"bounds: expected shape {labels.shape[1:]} as targets has classes, got {lowest.shape}")
    num_rows = labels.shape[0]
    length = _check_count("num_frames", num_frames, _MAX_DRAWS)
    shape = (num_rows, _check_count("num_masks", num_masks, _MAX_MASKS), length)
    arrays = {"targets": labels, "bounds": lowest}
    ids = _borrow_ids(samples, arrays, num_rows)
    draw = (check_seed(seed), _check_count("epoch", epoch, 2**32 - 1, least=0))
    count = num_threads(threads)
    device = common_device(**arrays)
    out = empty_like(labels, shape, "bool")
    of_samples = None if ids is None else ids.core
    _core.dynamic_frame_masks(labels.core, lowest.core, of_samples, *draw, borrow("out", out).core, count)
    release_inputs_after_launch(device, *arrays.values())
    return out


def dynamic_frame_bounds(train_counts: Any, num_frames: int, lower: float = 3.0) -> np.ndarray:
    """Compute MOVE's lower bound of each class: max(tau T, lower).

    tau is the position of the class between the rarest (0) and the most frequent (1): (n - min) / (max - min) of the
    training counts n. The published code computes the same from shares of the total, rounded less. If all counts are
    equal, tau is 0.

    Args:
        train_counts: (C,) finite numbers in CPU memory, not negative.
        num_frames: T.
        lower: The least bound, from 0 to T.

    Returns:
        (C,) float64.

    Raises:
        ValueError: A count is negative or not finite, or lower is outside [0, T].

    Example:
        >>> dynamic_frame_bounds([1912, 196, 44], 60)
        array([60.        ,  4.88222698,  3.        ])
    """
    borrowed = borrow("train_counts", train_counts)
    if borrowed.device.index is not None:
        raise ValueError(f"train_counts: expected numbers in CPU memory, got an array on {borrowed.device}; copy them")
    counts = borrowed.to_numpy().astype(np.float64)
    if counts.ndim != 1 or not counts.size:
        raise ValueError(f"train_counts: expected shape (C,) of at least one class, got {counts.shape}")
    wrong = np.flatnonzero(~(np.isfinite(counts) & (counts >= 0)))
    if wrong.size:
        at = wrong[0]
        raise ValueError(
            f"train_counts: expected finite counts that are not negative, got {counts[at]:g} of class {at}"
        )
    length = _check_count("num_frames", num_frames, _MAX_DRAWS)
    if isinstance(lower, bool) or not isinstance(lower, (int, float, np.integer, np.floating)):
        raise TypeError(f"lower: expected a number, got {lower!r}")
    if not 0 <= lower <= length:
        raise ValueError(f"lower: expected from 0 to num_frames, {length}, got {lower}")
    spread = counts.max() - counts.min()
    tau = (counts - counts.min()) / spread if spread else np.zeros_like(counts)
    return np.maximum(tau * length, lower)


# Arguments of the functions above


def _borrow_frames(name: str, array: Any, rank: int) -> Array:
    frames = borrow(name, array)
    expected = {2: "(F, D)", 3: "(B, T, D)"}[rank]
    if len(frames.shape) != rank or 0 in frames.shape:
        raise ValueError(f"{name}: expected shape {expected} without a 0, got {frames.shape}")
    if frames.dtype not in _FLOATS:
        raise TypeError(f"{name}: expected float16, bfloat16, float32 or float64, got {frames.dtype}")
    if frames.shape[-1] > 1 and frames.strides[-1] != frames.itemsize:
        fix = f"{name}.contiguous()" if hasattr(frames.owner, "contiguous") else f"np.ascontiguousarray({name})"
        raise ValueError(
            f"{name}: expected the numbers of a frame one after another, got a stride of {frames.strides[-1]} bytes; "
            f"pass {fix}"
        )
    return frames


def _borrow_labels(targets: Any, num_rows: int | None) -> Array:
    labels = borrow("targets", targets)
    if len(labels.shape) != 2 or num_rows not in (None, labels.shape[0]):
        expected = "(B, C)" if num_rows is None else f"({num_rows}, C)"
        raise ValueError(f"targets: expected shape {expected}, got {labels.shape}")
    return labels


def _borrow_integers(name: str, array: Any, rank: int = 1) -> Array:
    integers = borrow(name, array)
    if isinstance(array, (list, tuple)) and 0 in integers.shape:  # of which numpy does not know that it is of integers
        integers = borrow(name, np.empty(integers.shape, np.int64))
    if "int" not in integers.dtype:
        raise TypeError(f"{name}: expected integers, got {integers.dtype}")
    if len(integers.shape) != rank:
        raise ValueError(f"{name}: expected {rank} dimension{'s' * (rank > 1)}, got shape {integers.shape}")
    return integers


def _borrow_ids(samples: Any, arrays: dict[str, Array], num_rows: int) -> Array | None:
    if samples is None:
        return None
    ids = arrays["samples"] = _borrow_integers("samples", samples)
    if ids.shape != (num_rows,):
        raise ValueError(f"samples: expected shape ({num_rows},), got {ids.shape}")
    return ids


def _check_beta(beta: Any, num_rows: int) -> Array | float:
    if isinstance(beta, (int, float, np.integer, np.floating)) and not isinstance(beta, bool):
        if not 0 <= beta <= 1:
            raise ValueError(f"beta: expected from 0 to 1, got {beta}")
        return float(beta)
    shares = borrow("beta", beta)
    if shares.shape != (num_rows,) or shares.dtype != "float32":
        raise ValueError(
            f"beta: expected a number or float32 of shape ({num_rows},), got {shares.dtype} of shape {shares.shape}"
        )
    return shares


def _borrow_output(out: Any, shape: tuple[int, ...]) -> Array:
    array = borrow("out", out)
    if array.shape != shape or array.dtype not in _FLOATS:
        raise ValueError(f"out: expected floats of shape {shape}, got {array.dtype} of shape {array.shape}")
    stride = array.itemsize
    for extent, got in zip(reversed(array.shape), reversed(array.strides), strict=True):
        if extent != 1 and got != stride:
            raise ValueError(f"out: expected an array in C order, got strides {array.strides}")
        stride *= extent
    if not array.is_aligned:
        raise ValueError("out: expected elements at multiples of their size, got an unaligned array")
    if not array.writable:
        raise ValueError("out: expected an array that can be written, got a read-only one")
    _check_no_gradient("out", out)
    return array


def _note_change(out: Any) -> None:
    """Tells autograd that a tensor was written behind its back."""
    if out is not None and _is_torch(out):
        sys.modules["torch"].autograd.graph.increment_version(out)


def _new_shares(clips: Array) -> Any:
    return empty_like(clips, clips.shape[:1], "float32")


def _new_like(name: str, array: Array, shape: tuple[int, ...], dtype: str) -> Any:
    try:
        return empty_like(array, shape, dtype)
    except TypeError:  # numpy has no bfloat16
        raise TypeError(f"{name}: expected a dtype that numpy has, got {dtype}; pass a tensor of torch") from None


def _new_output(store: Array, shape: tuple[int, ...], dtype: str, pin_memory: bool) -> Any:
    if not pin_memory:
        try:
            return empty_like(store, shape, dtype)
        except TypeError:  # numpy has no bfloat16
            raise TypeError(f"dtype: expected one that numpy has, got {dtype}; pass out= of that dtype") from None
    if store.device.index is not None:
        raise ValueError(f"pin_memory: expected a store in CPU memory, got one on {store.device}")
    try:
        import torch
    except ImportError:
        raise ValueError("pin_memory: expected torch, which takes page-locked memory, got no such package") from None
    if not torch.cuda.is_available():
        raise ValueError("pin_memory: expected a CUDA device, for which memory is locked, got none")
    return torch.empty(shape, dtype=getattr(torch, dtype), pin_memory=True)


def _float_name(name: str, dtype: Any) -> str:
    text = str(dtype).removeprefix("torch.")
    if text not in _FLOATS:
        try:
            text = np.dtype(dtype).name
        except TypeError:
            text = repr(dtype)
    if text not in _FLOATS:
        raise TypeError(f"{name}: expected float16, bfloat16, float32 or float64, got {text}")
    return text


def _check_count(name: str, value: Any, most: int, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name}: expected an integer from {least} to {most}, got {value}")
    return int(value)


def _choose(name: str, value: Any, choices: tuple[str, ...]) -> int:
    """Where a choice stands among all: the core's code for it."""
    if value not in choices:
        raise ValueError(f"{name}: expected {' or '.join(map(repr, choices))}, got {value!r}")
    return choices.index(value)


def _is_torch(array: Any) -> bool:
    return "torch" in sys.modules and isinstance(array, sys.modules["torch"].Tensor)


def _wants_gradient(array: Any) -> bool:
    return _is_torch(array) and array.requires_grad and sys.modules["torch"].is_grad_enabled()


def _check_no_gradient(name: str, array: Any) -> None:
    if _wants_gradient(array):
        raise ValueError(f"{name}: expected an array without gradient, got one that requires it; detach it")
    _check_no_tangent(name, array)


def _check_no_tangent(name: str, array: Any) -> None:
    """Refuse forward-mode differentiation, which would silently get no tangent of the result."""
    if _is_torch(array) and sys.modules["torch"].autograd.forward_ad.unpack_dual(array).tangent is not None:
        raise NotImplementedError(f"{name}: expected a tensor without tangent, got one of forward-mode differentiation")


def _bad_pick(error: Any, arrays: dict[str, Array]) -> ValueError:
    """The sentence for a video or a frame that is not in the store."""
    name, row, col = error.args
    offsets, videos = arrays["offsets"], arrays["videos"]
    if name == "videos":
        got = videos.core.item((row,))
        return ValueError(f"videos: expected from 0 to {offsets.shape[0] - 2}, got {got} at row {row}")
    video = row if name == "offsets" else videos.core.item((row,))
    begin, end = offsets.core.item((video,)), offsets.core.item((video + 1,))
    if name == "offsets":
        num_rows = arrays["store"].shape[0]
        return ValueError(
            f"offsets: expected rows rising within 0 to {num_rows}, got {begin} to {end} of video {video}"
        )
    got = arrays["frame_indices"].core.item((row, col))
    return ValueError(
        f"frame_indices: expected from 0 to {end - begin - 1} for video {video}, got {got} at row {row}, column {col}"
    )
