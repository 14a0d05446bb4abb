"""The folder of a training run: every file that a run leaves, and how each is written and read back.

    config.json                 what was run on what data, by which versions
    metrics.csv                 a line for each epoch
    checkpoint.pt               the state after an epoch; without the optimizer's once its stage has ended
    best.pt                     the weights at the best validation up to checkpoint.pt
    next_best.pt                those of a later epoch, which become best.pt with the next checkpoint.pt
    preds.npy, labels.npy       (n, C) float32 logits and (n, C) uint8 labels, as vltr-eval takes them
    report.json, report.txt     the evaluation of these
    events/                     the scalars of metrics.csv for TensorBoard
    method/                     copies of the code of a method from outside the package; nothing imports them

Each file but the events is written whole or not at all. One of several ranks writes: the engine chooses it.
torch is imported where checkpoints and events need it, so that a table of many runs is read without it.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

from vltr_eval import Report
from vltr_eval._base.arguments import unknown_name
from vltr_eval._base.files import OutputError, PendingFile, replace_on_disk
from vltr_eval._base.version import __version__
from vltr_train.data.label_lists import default_class_names
from vltr_train.method_source import COPIES, check_code
from vltr_train.settings import settings_document

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from vltr_eval._base.ranks import Communicator, SingleProcess
    from vltr_train.data.dataset import Dataset
    from vltr_train.data.label_lists import LabelList
    from vltr_train.method_source import FoundMethod

__all__ = ["RunFolder", "check_plain", "choose_start", "labels_fingerprint", "open_runs", "run_document"]

RUN_FORMAT = "vltr-train/run/2"
CHECKPOINT_FORMAT = "vltr-train/checkpoint/1"
REQUIRED: dict[str, type | tuple[type, ...]] = {
    "method": str,
    "preset": (str, NoneType),
    "settings": dict,
    "dataset": dict,
}

CONFIG, METRICS = "config.json", "metrics.csv"
PREDS, LABELS = "preds.npy", "labels.npy"
REPORT, REPORT_TEXT = "report.json", "report.txt"
CHECKPOINTS = ("checkpoint", "best", "next_best")
# In the order in which an overwritten run is removed: no checkpoint may outlive the configuration it belongs to.
FILES = (*(f"{name}.pt" for name in CHECKPOINTS), METRICS, PREDS, LABELS, REPORT, REPORT_TEXT, CONFIG)
EVENTS = "events"
NO_REPORT = "it has no report"
REMEDY = "finish that run with resume=True (--resume)"
OTHER_FILES = (f"{EVENTS}/events.out.tfevents.*", f"{COPIES}/**/*.py")

PLAIN_TYPES = (type(None), bool, int, float, str, bytes)


def run_document(
    *, method: str, preset: str | None, config: Any, dataset: Dataset, argv: Sequence[str] = (), code: Any = None
) -> dict[str, Any]:
    """The content of config.json. argv: the command as given, if there was one. code: `Code.document` of a method from
    outside the package.
    """
    splits = (dataset.train, dataset.validate, dataset.test)
    return {
        "method": method,
        "preset": preset,
        **({} if code is None else {"code": code}),
        "settings": settings_document(config),
        "dataset": {
            "name": dataset.name,
            "num_classes": dataset.num_classes,
            "videos": [0 if split is None else len(split) for split in splits],
            "labels": labels_fingerprint(None if split is None else split.labels for split in splits),
            "dim": dataset.dim,
            "frames": dataset.frames.fingerprint,
            **_published(dataset.published_counts),
        },
        "classes": classes_fingerprint(dataset.class_names),
        "data": {
            key: None if path is None else str(path.resolve())
            for key, path in (("folder", dataset.folder), ("features", dataset.features))
        },
        "versions": {
            "vltr": __version__,
            "torch": importlib.metadata.version("torch"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "argv": list(argv),
    }


def _published(counts: np.ndarray | None) -> dict[str, str]:
    """The counts of a data set that are not those of its labels, as an entry of its description."""
    return {} if counts is None else {"counts": hashlib.sha256(np.asarray(counts, "<i8").tobytes()).hexdigest()}


def classes_fingerprint(class_names: Sequence[str]) -> str | None:
    """SHA-256 of the class names in their order, in hexadecimal; None if the classes have no names."""
    if tuple(class_names) == default_class_names(len(class_names)):
        return None
    return hashlib.sha256("\n".join(class_names).encode()).hexdigest()


def labels_fingerprint(splits: Iterable[LabelList | None]) -> str:
    """SHA-256 of the labels of these splits in their order, in hexadecimal; the ids of videos have no part in it."""
    digest = hashlib.sha256()
    for labels in splits:
        for numbers in ((-1,),) if labels is None else ((labels.num_classes,), labels.offsets, labels.classes):
            digest.update(np.asarray(numbers, "<i8").tobytes())
    return digest.hexdigest()


def choose_start(
    folder: str | os.PathLike[str],
    document: Mapping[str, Any],
    resume: bool | str,
    overwrite: bool,
    communicator: SingleProcess | Communicator,
) -> dict[str, bool]:
    """Return the arguments "resume" and "overwrite" of `RunFolder.start`: whether a training goes on from a run.

    A run that failed in its first epoch has nothing to go on from. It is started anew, with any code: it may be what
    the user has mended.

    Args:
        folder: The folder of the run.
        document: The `run_document` of the training.
        resume: True, False, or "auto": True if the folder holds a run.
        overwrite: Whether a run that is there and not resumed is replaced.
        communicator: The ranks, which all call this before any of them makes the folder.

    Raises:
        ValueError: `resume` is another value, or True without a run in the folder, or a run to start anew has other
            settings or data.
    """
    if resume not in (True, False, "auto"):
        raise ValueError(f"resume: expected True, False or 'auto', got {resume!r}")

    def choose() -> dict[str, bool]:
        if not RunFolder.is_at(folder):
            if resume != "auto":
                raise ValueError(
                    f"{folder}: expected a run to resume, got none; check the folder, or start one by "
                    "resume='auto' (--resume=auto)"
                )
            return {"resume": False, "overwrite": overwrite}
        run = RunFolder.open(folder)
        if not run.has_begun:
            run.check_same(document)
        return {"resume": run.has_begun, "overwrite": overwrite or not run.has_begun}

    # One answer for all ranks: the first one may make the folder while another still looks.
    return communicator.all_gather(choose)[0] if resume else {"resume": False, "overwrite": overwrite}


class RunFolder:
    """The folder of a run: `RunFolder.create` starts one, `RunFolder.open` opens one. Close it after the last epoch.

    Args:
        path: The folder.
        document: The content of config.json.
        epochs: The lines of metrics.csv.

    Example:
        >>> RunFolder.open("runs/framestack").document["method"]      # doctest: +SKIP
    """

    def __init__(self, path: Path, document: dict[str, Any], epochs: list[dict[str, Any]]) -> None:
        self.path, self.document = path, document
        self._epochs = epochs
        self._writer: SummaryWriter | None = None
        self._purge_step: int | None = None

    def __repr__(self) -> str:
        method = self.document.get("method", "no method")
        return f"RunFolder({str(self.path)!r}, {method}, {len(self._epochs):,} epochs)"

    def _repr_html_(self) -> str:
        from vltr_train.runs.run_html import run_html  # not above: only notebooks show it

        return run_html(self)

    @classmethod
    def create(cls, path: str | os.PathLike[str], document: Mapping[str, Any], *, overwrite: bool = False) -> RunFolder:
        """A new run, its config.json written. overwrite: remove the files of a run that is there; others stay.

        Raises ValueError where there is a run already, and OutputError where the folder cannot be made.
        """
        path = Path(path)
        document = _checked_document({"format": RUN_FORMAT, **document}, "document")
        files = [path / name for name in FILES] + [file for pattern in OTHER_FILES for file in path.glob(pattern)]
        present = [file for file in files if file.exists()]
        if present and not overwrite:
            raise ValueError(
                f"{path}: expected a folder without a run, got one that holds {present[0].name}; "
                f"{REMEDY}, or replace it with overwrite=True (--overwrite)"
            )
        present += _unfinished(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            for file in present:
                file.unlink()
        except OSError as error:
            raise OutputError(f"{path}: cannot be made the folder of a run ({error.strerror or error})") from None
        run = cls(path, document, [])
        run._write_text(CONFIG, json.dumps(document, indent=2, allow_nan=False) + "\n")
        return run

    @classmethod
    def start(
        cls,
        path: str | os.PathLike[str],
        document: Mapping[str, Any],
        *,
        is_first: bool,
        resume: bool,
        overwrite: bool,
        found: FoundMethod | None = None,
    ) -> RunFolder:
        """The run of a training, which is new, or there already and of the same document. is_first: of the ranks, which
        is the one that makes it. found: the method; a copy of its code is kept if the package does not have it.

        Raises ValueError for a run that is there and not to be resumed, and for one of other settings or data that is.
        """
        path = Path(path)
        if not resume:
            if not is_first:
                return cls(path, dict(document), [])
            folder = cls.create(path, document, overwrite=overwrite)
            folder._keep_code(found)
            return folder
        folder = cls.open(path)
        if found is not None:
            check_code(found, folder.document.get("code"), str(path), resumes=True)
        if is_first:
            folder.remove_unfinished()
        folder.check_same(document)
        if is_first:
            folder._keep_code(found)  # the process may have been killed before it had
        return folder

    def check_same(self, document: Mapping[str, Any]) -> None:
        """Refuse the `run_document` of a training with another method, other settings or other data."""
        for key in ("method", "preset", "settings", "dataset"):
            there, here = self.document[key], document[key]
            if there != here:
                if isinstance(here, dict):
                    there, here = _only_in(there, here), _only_in(here, there)
                raise ValueError(f"{self.path}: expected {key} {there} as in its config.json, got {here}")

    def _keep_code(self, found: FoundMethod | None) -> None:
        """Write the copies of the code of a method, where they are not there yet."""
        code = None if found is None else found.code
        for name, content in ({} if code is None else code.copies).items():
            path = self.path / COPIES / name
            if path.is_file() and path.read_bytes() == content:
                continue
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"{path.parent}: cannot be made ({error.strerror or error})") from None
            self._write(f"{COPIES}/{name}", partial(_write_bytes, content))

    @property
    def has_begun(self) -> bool:
        """Whether the folder holds more than the configuration: an epoch, a checkpoint or results."""
        return any((self.path / name).exists() for name in FILES if name != CONFIG)

    @property
    def unfinished(self) -> str | None:
        """A few words about a training that is not finished, such as "epoch 8 of 90", or None.

        Without a number of epochs, which older runs do not record, a run is finished if it has a report.
        """
        total = self.document.get("epochs")
        if not isinstance(total, int):
            return None if self.has_report else NO_REPORT
        done = self._epochs[-1]["epoch"] + 1 if self._epochs else 0
        return f"epoch {done:,} of {total:,}" if done < total else None

    @staticmethod
    def is_at(path: str | os.PathLike[str]) -> bool:
        """Whether there is a run in this folder."""
        return Path(path, CONFIG).exists()

    @classmethod
    def of(cls, run: RunFolder | str | os.PathLike[str]) -> RunFolder:
        """The run itself, or the run in this folder, as `open` finds it."""
        return run if isinstance(run, RunFolder) else cls.open(run)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """The run in this folder. Raises ValueError when there is none, or one of another version."""
        path = Path(path)
        if not cls.is_at(path):
            raise _no_run(path)
        text = _read_text(path / CONFIG)
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{path / CONFIG}: expected JSON, got text that is none ({error})") from None
        except RecursionError:
            raise ValueError(f"{path / CONFIG}: expected the settings of a run, got deeply nested JSON") from None
        metrics = path / METRICS
        epochs = _parsed_epochs(metrics, _read_text(metrics)) if metrics.exists() else []
        return cls(path, _checked_document(document, str(path / CONFIG)), epochs)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check_classes(self, class_names: Sequence[str]) -> None:
        """Refuse data whose classes have other names, or another order, than those of the training.

        Raises ValueError. Runs of version 0.1 and classes without names are not compared.
        """
        trained, given = self.document.get("classes"), classes_fingerprint(class_names)
        if None not in (trained, given) and trained != given:
            raise ValueError(
                f"{self.path}: expected data with the class names of the training in their order, got different names; "
                "pack the data with the same --class-names"
            )

    def value(self, *keys: str) -> Any:
        """The value of config.json under these keys, one within the other. Raises ValueError where there is none."""
        found: Any = self.document
        for key in keys:
            if not isinstance(found, dict) or key not in found:
                raise ValueError(f"{self.path / CONFIG}: expected a value of {'.'.join(keys)}, got none; train again")
            found = found[key]
        return found

    def close(self) -> None:
        """End the file of events. A later epoch would begin another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    # Epochs

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The lines of metrics.csv, each with the columns that it has a value in."""
        return [dict(values) for values in self._epochs]

    @property
    def scalars_are_written(self) -> bool:
        """Whether the numbers of epochs go to TensorBoard: its package is installed (extra "tensorboard")."""
        return _summary_writer() is not None

    def append_epoch(self, values: Mapping[str, Any]) -> None:
        """Add a line to metrics.csv, and its numbers to the events.

        values: "epoch", which must be above that of the line before, and any other columns; these may differ between
        lines, and a cell without a value is empty.
        """
        if "epoch" not in values:
            raise ValueError(f"values: expected the key 'epoch' among them, got {', '.join(values) or 'none'}")
        if self._epochs and values["epoch"] <= self._epochs[-1]["epoch"]:
            raise ValueError(f"epoch: expected one above {self._epochs[-1]['epoch']}, got {values['epoch']}")
        self._write_epochs([*self._epochs, dict(values)])
        self._write_events(values)

    def rewind(self, epoch: int) -> None:
        """Return to the end of this epoch, that of the checkpoint to resume from: later lines and events are dropped.

        So is what a killed process left unfinished, and the best weights of a later epoch.
        """
        self.close()
        self.remove_unfinished()
        if self.has_checkpoint("next_best"):
            if self.load_checkpoint("next_best", ["epoch"])["epoch"] <= epoch:
                self._keep_next_best()  # the checkpoint was written, and then the process was killed
            else:
                self.checkpoint_file("next_best").unlink()
        self._write_epochs([values for values in self._epochs if values["epoch"] <= epoch])
        self._purge_step = epoch + 1

    def remove_unfinished(self) -> None:
        """Remove the files that were being written when a process was killed or a write was abandoned."""
        for unfinished in _unfinished(self.path):
            unfinished.unlink(missing_ok=True)

    def _write_epochs(self, epochs: list[dict[str, Any]]) -> None:
        """Writes metrics.csv anew. The run has these epochs only once they are written."""
        columns = dict.fromkeys(column for values in epochs for column in values)
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(epochs)
        self._write_text(METRICS, text.getvalue())
        self._epochs = epochs

    def _write_events(self, values: Mapping[str, Any]) -> None:
        if self._writer is None:
            writer_class = _summary_writer()
            if writer_class is None:
                return
            self._writer = writer_class(str(self.path / EVENTS), purge_step=self._purge_step)
        for name, value in values.items():
            if name != "epoch" and not isinstance(value, str):
                self._writer.add_scalar(name, value, values["epoch"])
        self._writer.flush()

    # Checkpoints

    def has_checkpoint(self, name: str) -> bool:
        """Whether there is one of this name, "checkpoint", "best" or "next_best"."""
        return self.checkpoint_file(name).exists()

    def save_checkpoint(self, name: str, state: Mapping[str, Any]) -> None:
        """Write the state as NAME.pt. With a "checkpoint" the "next_best" becomes the "best": before that a training
        may have to go on from an earlier one, which need not lead to the same weights again.

        name: "checkpoint", "best" or "next_best". state: tensors, numbers, text, None, and lists, tuples and dicts of
        these, so that it can be read without running code from the file; ValueError names what else is in it.
        """
        import torch

        check_plain("state", dict(state))
        path = self.checkpoint_file(name)

        def save(unfinished: Path) -> None:
            try:
                torch.save({"format": CHECKPOINT_FORMAT, **state}, unfinished)
            except RuntimeError as error:  # so torch reports a full disk
                raise OutputError(f"{path}: cannot be written ({str(error).splitlines()[0]})") from None

        self._write(path.name, save)
        if name == "checkpoint" and self.has_checkpoint("next_best"):
            self._keep_next_best()

    def _keep_next_best(self) -> None:
        replace_on_disk(self.checkpoint_file("next_best"), self.checkpoint_file("best"))

    def load_checkpoint(self, name: str, keys: Iterable[str] = ()) -> dict[str, Any]:
        """The state that `save_checkpoint` wrote under this name, its tensors in the CPU's memory.

        keys: those that it must have. Raises ValueError when there is none, and for a file that is truncated, damaged
        or no checkpoint of a run.
        """
        import torch

        path = self.checkpoint_file(name)
        try:
            file = open(path, "rb")  # noqa: SIM115
        except FileNotFoundError:
            raise ValueError(f"{path}: expected a checkpoint, got none; {REMEDY}") from None
        except OSError as error:
            raise _unreadable(path, error) from None
        with file:
            try:
                # torch.save keeps a crc32 of each record in its zip archive, and torch.load compares none of them.
                damaged = zipfile.ZipFile(file).testzip()
                file.seek(0)
                state = torch.load(file, map_location="cpu", weights_only=True)
            except Exception:  # from foreign bytes both raise whatever these lead them to
                damaged = state = None
        if damaged is not None:
            raise ValueError(
                f"{path}: expected the bytes that were saved, but {damaged} has changed, so the file is damaged; "
                "copy it again, or train again with overwrite=True (--overwrite)"
            )
        if not isinstance(state, dict) or state.pop("format", None) != CHECKPOINT_FORMAT:
            raise ValueError(f"{path}: expected a checkpoint of vltr-train, got a truncated or foreign file")
        for key in keys:
            if key not in state:
                raise ValueError(f"{path}: expected a checkpoint with {', '.join(keys)}, got one without {key}")
        return state

    def checkpoint_file(self, name: str) -> Path:
        """Where a checkpoint is, "checkpoint", "best" or "next_best"."""
        if name not in CHECKPOINTS:
            raise unknown_name("name", name, CHECKPOINTS)
        return self.path / f"{name}.pt"

    # Predictions and their evaluation

    def save_predictions(self, preds: Any, labels: Any) -> None:
        """Write preds.npy and labels.npy. preds, labels: (n, C) arrays or CPU tensors; a label is what is not 0."""
        preds, labels = np.asarray(preds, np.float32), (np.asarray(labels) != 0).view(np.uint8)
        if preds.ndim != 2 or preds.shape != labels.shape:
            raise ValueError(f"preds: expected (n, C) as labels {labels.shape}, got {preds.shape}")
        self._write_array(PREDS, preds)
        self._write_array(LABELS, labels)

    def load_predictions(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the memory-mapped arrays of preds.npy and labels.npy, (n, C) float32 and uint8.

        Raises ValueError if the run has none, or files that are no arrays of this form.
        """
        preds, labels = (self._load_array(name, dtype) for name, dtype in ((PREDS, np.float32), (LABELS, np.uint8)))
        if preds.ndim != 2 or preds.shape != labels.shape:
            raise ValueError(f"{self.path}: expected {PREDS} and {LABELS} (n, C), got {preds.shape} and {labels.shape}")
        return preds, labels

    @property
    def has_report(self) -> bool:
        """Whether the run was evaluated."""
        return (self.path / REPORT).exists()

    def save_report(self, report: Report) -> None:
        """Write report.json, and report.txt with its notes."""
        self._write_text(REPORT, report.to_json())
        self._write_text(REPORT_TEXT, str(report))

    def load_report(self) -> Report:
        """The report in report.json. Raises ValueError when the run has none yet, or none of this version."""
        path = self.path / REPORT
        if not path.exists():
            raise ValueError(f"{self.path}: expected a finished run, got one without a report; {REMEDY}")
        try:
            return Report.from_json(_read_text(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def _load_array(self, name: str, dtype: type[np.generic]) -> np.ndarray:
        path = self.path / name
        try:
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except OSError as error:
            raise _unreadable(path, error) from None
        except (ValueError, EOFError):
            raise ValueError(f"{path}: expected an array of numbers, got a damaged or another file") from None
        if array.dtype != dtype:
            raise ValueError(f"{path}: expected {np.dtype(dtype)}, got {array.dtype}")
        return array

    def _write_array(self, name: str, array: np.ndarray) -> None:
        def save(unfinished: Path) -> None:
            with open(unfinished, "wb") as file:  # by its path np.save would add .npy to it
                np.save(file, array)

        self._write(name, save)

    def _write_text(self, name: str, text: str) -> None:
        self._write(name, lambda unfinished: unfinished.write_text(text, encoding="utf-8", newline=""))

    def _write(self, name: str, writer: Callable[[Path], object]) -> None:
        with PendingFile(self.path / name) as pending:
            pending.write(writer)


def _summary_writer() -> type[SummaryWriter] | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter


def _checked_document(document: Any, what: str) -> dict[str, Any]:
    found = document.get("format") if isinstance(document, dict) else None
    if found != RUN_FORMAT:
        raise ValueError(f"{what}: expected format {RUN_FORMAT!r}, got {found!r}")
    for key, kind in REQUIRED.items():
        if key not in document:
            raise ValueError(f"{what}: expected the keys {', '.join(REQUIRED)}, got none named {key!r}")
        if not isinstance(document[key], kind):
            raise ValueError(f"{what}: expected another type of {key}, got {document[key]!r}")
    return document


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _unfinished(path: Path) -> list[Path]:
    """The files that a process was writing when it was killed."""
    copies = path.glob(f"{COPIES}/**/.*.py.*.unfinished")
    return [*copies, *(file for name in FILES for file in path.glob(f".{name}.*.unfinished"))]


def check_plain(key_path: str, value: Any) -> None:
    """Refuse what torch.load(weights_only=True) would, by exact type: numpy's float64 is a float, but not to pickle.

    Raises ValueError that names the first such value by its keys.
    """
    import torch

    if isinstance(value, torch.Tensor) or type(value) in PLAIN_TYPES:
        return
    if type(value) in (dict, OrderedDict):
        entries: Iterable[tuple[Any, Any]] = value.items()
        for key in value:
            check_plain(f"a key of {key_path}", key)
    elif type(value) in (list, tuple):
        entries = enumerate(value)
    else:
        raise ValueError(f"{key_path}: expected tensors and plain containers, got {type(value).__name__}")
    for key, item in entries:
        check_plain(f"{key_path}[{key!r}]", item)


def _parsed_epochs(path: Path, text: str) -> list[dict[str, Any]]:
    lines = csv.DictReader(io.StringIO(text))
    try:
        epochs = [{column: _parsed_cell(cell) for column, cell in line.items() if cell} for line in lines]
    except (csv.Error, TypeError):  # TypeError: a line has more cells than the header
        epochs = [{}]
    if not all(isinstance(values.get("epoch"), int) for values in epochs):
        raise ValueError(f"{path}: expected lines under a header, each with a whole number in the column 'epoch'")
    return epochs


def _parsed_cell(cell: str) -> Any:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            pass
    return cell


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise _unreadable(path, error) from None


def _no_run(path: Path) -> ValueError:
    """The error for a folder without a run, which names one below it if there is any."""
    if path.is_dir():
        below = sorted(file.parent for file in path.glob(f"*/{CONFIG}"))
        advice = f"give one of the {len(below):,} folders in it, such as {below[0]}" if below else "check its name"
        return ValueError(f"{path}: expected the folder of a run, got one without {CONFIG}; {advice}")
    got = f"a file; give its folder {path.parent}" if path.exists() else "no such folder; check its name"
    return ValueError(f"{path}: expected the folder of a run, got {got}")


def _unreadable(path: Path, error: OSError) -> ValueError:
    return ValueError(f"{path}: expected a file of a run, got {error.strerror or error}")


def _only_in(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if (key, value) not in other.items()}


def open_runs(runs: Iterable[RunFolder | str | os.PathLike[str]]) -> list[RunFolder]:
    """Open the runs that are given by their folders. Raises ValueError for a single run in the place of a list."""
    if isinstance(runs, (RunFolder, str, os.PathLike)):
        raise ValueError(f"runs: expected a list of runs, got a single one; pass [{getattr(runs, 'path', runs)!r}]")
    return [RunFolder.of(run) for run in runs]
