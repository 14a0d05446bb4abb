"""Files and data frames -> scores, labels, counts and names, without a copy where a file can be mapped.

    reading       read_scores, read_labels, read_pair, read_train_counts, ...: the functions to call
    sources       which files a spec names, and errors
    table         the one description of a table, which every reader fills
    numpy_files   .npy, .npz (and scipy's sparse .npz)
    tensors       .safetensors, .pt
    pickles       the opcodes of a .pt, without an unpickler
    arrays        what formats of named arrays share
    hdf5          .h5
    zarr_files    .zarr, and zarr in a .zip
    containers    the choice of an array in these, and the names beside it
    tiles         compressed chunks, decoded on several threads
    copies        local copies of compressed files and of URLs
    local_files   one file, copied first where it is compressed or remote
    remote        URLs: sizes and patterns
    pickle_files  .pkl of mmaction2, mmengine and PySlowFast
    pickled_data  the plain data of a .pkl, without an unpickler
    arrow         .parquet, and arrow columns
    frames        data frames in memory: pandas, polars, arrow
    columns       columns of numbers as one matrix
    text          .csv, .tsv, .txt
    json_files    .json, .jsonl
    tfrecord      YouTube-8M's .tfrecord
    label_lists   .lst and other lists of an id and its classes
    published     label tables that need more than the general rules
    roles         the names that tell scores, labels and ids apart
    column_roles  which columns are ids, classes, or neither
    cells         text cells that hold the labels of a row
    meaning       what a table means: scores or labels, and what is in doubt
    label_forms   the forms of labels, and the rule that tells each
    arrow_files   .arrow, .feather, and folders of Hugging Face save_to_disk
    unknown_marks values and masks that say which labels are unknown
    align         scores and labels brought together, by class names and ids
    views         rows of one id: the clips of a video
    label_map     the label maps of AVA
    class_files   training counts, class distributions, class names
    group_files   groups of classes of one's own
    slice_files   slices of rows
    partition_files what files of groups and of slices share
    content       scores or labels on their way to another file
    writers       the writer of each container

Every failure is an `InputError` of one sentence that begins with the file's name. No Python object is ever unpickled.
"""

from __future__ import annotations

from vltr_eval._base.files import InputError
from vltr_eval.formats.align import Aligned, ClassNames
from vltr_eval.formats.label_forms import FORMS
from vltr_eval.formats.meaning import Labels, Scores
from vltr_eval.formats.reading import (
    read_class_names,
    read_ids,
    read_labelmap,
    read_labels,
    read_pair,
    read_prior,
    read_scores,
    read_train_counts,
    read_youtube8m_segments,
)
from vltr_eval.formats.sources import Spec, input_files, is_spec, natural_order, split_spec
from vltr_eval.formats.table import LabelPairs, Lists

__all__ = [
    "FORMS",
    "Aligned",
    "ClassNames",
    "InputError",
    "LabelPairs",
    "Labels",
    "Lists",
    "Scores",
    "Spec",
    "input_files",
    "is_spec",
    "natural_order",
    "read_class_names",
    "read_ids",
    "read_labelmap",
    "read_labels",
    "read_pair",
    "read_prior",
    "read_scores",
    "read_train_counts",
    "read_youtube8m_segments",
    "split_spec",
]
