"""The purpose for which a file is read, and the choice of one of its arrays; an ambiguous choice is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vltr_eval._base.files import InputError
from vltr_eval.formats.sources import Source, listing


@dataclass(frozen=True)
class Role:
    """The purpose for which a file is read: its name in messages, and the names of arrays and columns that state it."""

    name: str
    keys: frozenset[str]


SCORES = Role(
    "scores",
    frozenset(
        {"scores", "score", "preds", "pred", "predictions", "prediction", "probs", "probabilities", "prob", "logits"}
        | {
            "outputs",
            "output",
            "y_score",
            "y_pred",
            "y_prob",
            "pred_score",
            "pred_scores",
            "pred_logits",
            "confidence",
            "confidences",
        }
    ),
)
LABELS = Role(
    "labels",
    frozenset(
        {"labels", "label", "targets", "target", "truth", "truths", "y_true", "ground_truth", "groundtruth", "gt"}
        | {"gts", "gt_label", "gt_labels", "answers", "annotations", "classes", "class", "tags", "tag", "categories"}
        | {"category", "positive_labels", "actions", "label_ids", "class_ids", "class_id", "label_id", "multi_hot"}
        | {"multihot", "one_hot", "onehot", "y"}
    ),
)
COUNTS = Role(
    "training counts",
    frozenset({"counts", "train_counts", "count", "num_train", "frequencies", "frequency"} | {"train_count"}),
)
IDS = Role(
    "row ids",
    frozenset(
        {"id", "ids", "video", "videos", "video_id", "video_ids", "videoid", "vid", "vids", "name", "names", "file"}
        | {"files", "filename", "filenames", "file_name", "file_names", "fname", "fnames", "path", "paths", "filepath"}
        | {
            "image",
            "images",
            "image_id",
            "image_ids",
            "imageid",
            "key",
            "keys",
            "sample_key",
            "sample_id",
        }
        | {"ytid", "youtube_id", "narration_id", "clip", "clip_id", "clip_ids", "segment_id", "row_id", "uid", "uuid"}
        | {"video_name", "video_names", "track_id", "audio_name", "utt_id", "example_id", "sample_ids"}
    ),
)
ROLES = (SCORES, LABELS, COUNTS, IDS)
MASK = Role("mask", frozenset({"mask", "y_mask", "known", "label_mask", "labels_mask", "known_mask"}))
"""No member of `ROLES`: labels and scores may have these names, as they could before there were masks."""


def plain(name: str) -> str:
    """A name as it is looked up: lower case, words joined by underscores."""
    return re.sub(r"[\s\-]+", "_", name.strip().lower())


def has_role(name: str | None, role: Role) -> bool:
    """Whether a name says that something has a role."""
    return name is not None and plain(name) in role.keys


def role_of(name: str | None) -> Role | None:
    """The role that a name states, or None."""
    return next((role for role in ROLES if has_role(name, role)), None)


def choose(source: Source, role: Role, dims: Mapping[str, int]) -> str:
    """Name of the array to read among ``dims`` (name -> number of dimensions).

    An array whose name states another role is never a candidate, unless the user picks it by ``FILE::KEY``.

    Raises:
        InputError: No such array, or several that could be meant.
    """
    if source.key is not None:
        if source.key not in dims:
            raise InputError(f"{source}: no such array; the file holds {listing(dims) if dims else 'no array'}")
        return source.key
    free = [name for name in dims if role_of(name) in (role, None)]
    by_name = [name for name in free if has_role(name, role)]
    matrices = [name for name in free if dims[name] == 2]
    for candidates in (by_name, free, matrices):
        if len(candidates) == 1:
            return candidates[0]
    holds = listing(dims) if dims else "no array"
    raise InputError(f"{source}: cannot tell which array holds the {role.name}; pick one as FILE::KEY (found {holds})")
