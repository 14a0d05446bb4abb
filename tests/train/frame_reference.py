"""Textbook versions of what vltr_train computes: plain numpy and Python integers, sharing no code with it."""

from __future__ import annotations

import math

import numpy as np

MASK = 0xFFFFFFFF


def lane_sum(values: np.ndarray) -> float:
    """The stated order: lane l adds elements l, l + 128, ...; then the upper half is added to the lower."""
    lanes = np.zeros(128)
    for start in range(0, len(values), 128):
        part = values[start : start + 128]
        lanes[: len(part)] += part
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    return float(lanes[0])


def label_sums(targets: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Sum of target x score and sum of targets, over the classes that have a target."""
    targets, scores = targets.astype(np.float64), np.asarray(scores).astype(np.float64)
    has = targets != 0
    products = np.where(has, np.where(has, scores, 0) * targets, 0)
    return lane_sum(products), lane_sum(targets)


def sample_score(targets: np.ndarray, rap: np.ndarray, rule: str, eps_scale: str) -> np.float32:
    total, weight = label_sums(targets, rap)
    if rule == "mean":
        total = total / weight if weight else 0.0
    elif rule == "min":
        has = targets != 0
        total = float(np.asarray(rap, np.float64)[has].min()) if has.any() else 0.0
    score = np.float32(total)
    return score / np.float32(len(targets)) if eps_scale == "code" else score


def spread(count: int, frames: int) -> list[int]:
    return [math.floor(k * (frames - 1) / (count - 1)) if count > 1 else 0 for k in range(count)]


def frame_stack(
    features,
    targets,
    rap,
    partner,
    clip_length,
    *,
    num_mixed=None,
    beta=None,
    multilabel_rap="sum",
    eps_scale="code",
    order="partner_first",
):
    """One sample after another, as the paper tells it."""
    num_rows, num_frames, _ = features.shape
    num_mixed = num_rows if num_mixed is None else num_mixed
    wide = np.float64 if targets.dtype == np.float64 else np.float32
    out_dtype = np.float32 if targets.dtype.kind in "biu" else targets.dtype
    clips, labels, betas = [], [], []
    for i in range(num_rows):
        if i >= num_mixed:
            j, share = i, np.float32(0)
        else:
            j = int(partner[i])
            if beta is not None:
                share = np.float32(np.broadcast_to(beta, num_rows)[i])
            else:
                own = sample_score(targets[i], rap, multilabel_rap, eps_scale)
                other = sample_score(targets[j], rap, multilabel_rap, eps_scale)
                share = own / (own + other) if own + other >= np.float32(1e-5) else np.float32(0.5)
        from_partner = int(share * np.float32(clip_length))
        theirs = features[j][spread(from_partner, num_frames)]
        ours = features[i][spread(clip_length - from_partner, num_frames)]
        clips.append(np.concatenate([theirs, ours] if order == "partner_first" else [ours, theirs]))
        mixed = (wide(1) - wide(share)) * targets[i].astype(wide) + wide(share) * targets[j].astype(wide)
        labels.append(mixed.astype(out_dtype))
        betas.append(share)
    return np.stack(clips), np.stack(labels), np.array(betas, np.float32)


# The counter-based generator and the keyed permutation, from their papers.


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def block(seed: int, sample: int, epoch: int, purpose: int, number: int) -> tuple[int, int, int, int]:
    sample &= 2**64 - 1
    counter = (sample & MASK, epoch, (purpose << 24) + number, sample >> 32)
    return philox(counter, (seed & MASK, seed >> 32))


def below(bound: int, seed: int, sample: int, epoch: int, purpose: int, number: int) -> int:
    return block(seed, sample, epoch, purpose, number // 4)[number % 4] * bound >> 32


def mixed_hash(value: int) -> int:
    value ^= value >> 16
    value = value * 0x85EBCA6B & MASK
    value ^= value >> 13
    value = value * 0xC2B2AE35 & MASK
    return value ^ value >> 16


def permutation(size: int, count: int, seed: int, sample: int, epoch: int, purpose: int, number: int) -> list[int]:
    """The first points of a Feistel permutation over a grid of about sqrt(size) squared, walking on from beyond it."""
    keys = [word for b in range(4) for word in block(seed, sample, epoch, purpose, 4 * number + b)]
    rounds = 16 if size < 1024 else 8
    columns = math.isqrt(size - 1) + 1 if size > 1 else 1
    rows = -(-size // columns)
    points = []
    for point in range(count):
        while True:
            left, right = point % columns, point // columns
            for r in range(0, rounds, 2):
                left = (left + (mixed_hash((right + keys[r]) & MASK) * columns >> 32)) % columns
                right = (right + (mixed_hash((left + keys[r + 1]) & MASK) * rows >> 32)) % rows
            point = right * columns + left
            if point < size:
                break
        points.append(point)
    return points


def sample_frames(length: int, count: int, mode: str, replacement: bool, seed: int, epoch: int, sample: int):
    if mode == "uniform":
        return [k * (length - 1) // (count - 1) if count > 1 else 0 for k in range(count)]
    if replacement:
        return sorted(below(length, seed, sample, epoch, 1, k) for k in range(count))
    turns, rest = divmod(count, length)
    whole = list(range(length)) * turns if turns else []
    return sorted(whole + permutation(length, rest, seed, sample, epoch, 2, 0))


def dynamic_frame_mask(targets, bounds, num_frames: int, mask: int, seed: int, epoch: int, sample: int) -> np.ndarray:
    total, weight = label_sums(targets, bounds)
    mean = total / weight if weight else 1.0
    fewest = min(max(math.floor(mean), 1), num_frames)
    size = fewest + below(num_frames - fewest + 1, seed, sample, epoch, 3, mask)
    chosen = np.zeros(num_frames, bool)
    chosen[permutation(num_frames, size, seed, sample, epoch, 4, mask)] = True
    return chosen
