"""The training loop: stages, epochs, steps; what is drawn, saved and resumed.

Nothing depends on what ran before but through the checkpoint. Every epoch seeds its draws anew, from the seed, the
stage, the epoch and the rank, so a resumed run goes on with the bits of one that was never interrupted.
"""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vltr_eval import Report
from vltr_eval._base.ranks import current_group, propagate_errors
from vltr_eval._base.terminal import ProgressBar
from vltr_train.context import RunContext, lost_ranks
from vltr_train.data.dataset import Dataset, Split, TestSplit, TrainSplit, ValSplit, open_dataset
from vltr_train.data.loader import Loader, derived_seed
from vltr_train.method import Method, Stage, Task
from vltr_train.methods import find_method
from vltr_train.predict import class_average_precision, load_weights, score, write_report
from vltr_train.runs.run_folder import RunFolder, is_resumed, run_document
from vltr_train.schedule import describe_schedule
from vltr_train.settings import build_config

__all__ = ["Run", "fit"]


@dataclass(frozen=True)
class Run:
    """A finished training: its folder, the method as it was selected, and the report on the test split (or the one that
    selected it, where there is no test split); None but for the method on ranks other than the first.
    """

    folder: RunFolder
    method: Method
    report: Report | None

    def __repr__(self) -> str:
        found = "no report" if self.report is None else f"mAP {self.report.metrics()['mAP']:.4f}"
        return f"Run({str(self.folder.path)!r}, {type(self.method).__name__}, {found})"


def fit(
    method: str,
    dataset: Dataset | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    resume: bool | str = False,
    overwrite: bool = False,
    device: str | None = None,
    store: str = "auto",
    threads: int | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train a method by its name on a data set, and leave a run folder that ``vltr-eval`` and `table` read.

    method: a name of `all_methods`, or "name:preset". dataset: a `Dataset`, or the folder of one. folder: of the run,
    new unless it is to be resumed from its last checkpoint or overwritten. resume: True for a run that must be there,
    "auto" for one that is resumed if it is there and started if not. device: default a GPU where there is one. store:
    see `resident_frames`. threads: of the core. quiet: print no stages, epochs and progress on stderr. settings: of the
    method's Config, ``protocol="official"`` included. Where torch.distributed is initialised every rank calls this, and
    batches are shared out.

    >>> run = fit("framestack", "data", "runs/framestack", epochs=20, seed=1)      # doctest: +SKIP
    >>> run.report.metrics()["mAP_tail"]                                           # doctest: +SKIP
    """
    communicator = current_group()
    with propagate_errors(communicator):
        dataset = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
        name, _, preset = method.partition(":")
        kind = find_method(name)
        config = build_config(kind, preset or None, settings)
        selecting = _selecting_split(dataset, config.select_on)
        context = RunContext.choose(dataset, communicator, device=device, store=store, threads=threads)
        torch.manual_seed(derived_seed(config.seed))
        model = kind(config, Task(dataset.num_classes, dataset.dim, dataset.train_counts, dataset.bounds))
        model = model.to(context.device)
        if communicator.size > 1 and context.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        if config.compile:
            for module in model.compiled():
                module.compile()
        training = _Training(model, dataset, selecting, context, quiet or communicator.rank > 0)
        document = run_document(method=name, preset=preset or None, config=config, dataset=dataset, argv=sys.argv)
        how = {"resume": is_resumed(folder, resume, communicator), "overwrite": overwrite}
        training.folder = RunFolder.start(folder, document, is_first=communicator.rank == 0, **how)
    communicator.barrier()  # the first rank has made the folder
    with training.folder, lost_ranks(communicator):
        training.run()
        return Run(training.folder, model, training.finish())


class _Training:
    """A method on its way through its stages."""

    folder: RunFolder

    def __init__(
        self, method: Method, dataset: Dataset, selecting: Split | None, context: RunContext, quiet: bool
    ) -> None:
        self.method, self.dataset, self.selecting, self.context, self.quiet = method, dataset, selecting, context, quiet
        self.config, self.communicator, self.device = method.config, context.communicator, context.device
        self.stages = method.stages()
        for number, stage in enumerate(self.stages):
            self.loaders_of(number, stage)  # raises now, and not after the stages before it
        # Epochs gone in this stage, and in all; what is done is not done again.
        self.state: dict[str, Any] = {"stage": 0, "epoch": 0, "total": 0, "best": None}

    def run(self) -> None:
        if self.folder.has_checkpoint("checkpoint"):
            self.state = self.folder.load_checkpoint("checkpoint", self.state)
            for stage in self.stages[: self.state["stage"]]:
                self.method.begin_stage(stage)  # what it froze or added is so in later ones
        if not self.quiet:
            lines = describe_schedule(self.method, self.stages, self.dataset, self.state["total"])
            sys.stderr.writelines(f"{line}\n" for line in lines)
        if self.communicator.rank == 0 and self.folder.epochs:
            self.folder.rewind(self.state["total"] - 1)
        for number in range(self.state["stage"], len(self.stages)):
            self.run_stage(number, self.stages[number])
            self.state |= {"stage": number + 1, "epoch": 0}
            self.state.pop("optimizer", None)

    def run_stage(self, number: int, stage: Stage) -> None:
        state, method = self.state, self.method
        torch.manual_seed(self.seed_of(number))
        method.begin_stage(stage)
        optimizer = stage.optimizer([p for p in method.parameters() if p.requires_grad], lr=stage.rate(0))
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.config.precision == "float16")
        if "optimizer" in state:  # in the midst of this stage, which may have changed the method at its start
            load_weights(method, state, self.folder.checkpoint_file("checkpoint"))
            optimizer.load_state_dict(state["optimizer"])
            scaler.load_state_dict(state["scaler"])
        loaders = self.loaders_of(number, method.stages()[number])
        loss_of = method if self.communicator.size == 1 else DistributedDataParallel(method)
        with ProgressBar(sys.stderr, enabled=not self.quiet, done=state["epoch"] / stage.epochs) as bar:
            for epoch in range(state["epoch"], stage.epochs):
                line = self.run_epoch(number, stage, epoch, loaders, loss_of, optimizer, scaler, bar)
                is_end = epoch == stage.epochs - 1
                if is_end or (epoch + 1) % self.config.eval_every == 0:
                    line |= self.evaluate(stage is self.stages[-1], is_end, line)
                said = method.end_stage(stage, self.average_precision) if is_end else None
                state |= {"stage": number, "epoch": epoch + 1, "total": state["total"] + 1}
                state |= {"method": method.state_dict(), "optimizer": optimizer.state_dict()}
                state |= {"scaler": scaler.state_dict()}
                self.record(line, said, bar)

    def run_epoch(
        self,
        number: int,
        stage: Stage,
        epoch: int,
        loaders: list[Loader],
        loss_of: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        bar: ProgressBar,
    ) -> dict[str, Any]:
        start = time.perf_counter()
        torch.manual_seed(derived_seed(self.seed_of(number), epoch, self.communicator.rank))
        self.method.train()
        self.method.begin_epoch(epoch, loaders[0].num_rows)
        total, num_rows, num_steps = torch.zeros((), device=self.device), 0, loaders[0].num_batches
        clipped = self.method.clipped()
        for step, batches in enumerate(zip(*(loader.epoch(epoch) for loader in loaders), strict=True)):
            rate = stage.rate(epoch + step / num_steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            with self.context.autocast(self.config.precision):
                loss = loss_of(*batches)
            scaler.scale(loss * batches[0].weight).backward()
            if stage.clip_norm is not None:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(clipped, stage.clip_norm)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            loss = loss.detach()
            total += loss * len(batches[0].rows)
            num_rows += len(batches[0].rows)
            if bar.is_due:  # a person looks: the one time that a step waits for the device
                bar((epoch + step / num_steps) / stage.epochs, f"{self.said(stage, epoch)}, loss {float(loss):.4f}")
        loss, rows = self.mean_loss(total, num_rows)
        self.method.end_epoch()
        if self.communicator.size > 1:  # batch statistics that are each rank's own: all go on with those that are saved
            for buffer in self.method.buffers():
                torch.distributed.broadcast(buffer, 0)
        seconds = time.perf_counter() - start
        line = {"epoch": self.state["total"], "stage": stage.name, "lr": rate, "loss": loss}
        return line | {"seconds": round(seconds, 3), "videos_per_second": round(rows / seconds, 1)}

    def mean_loss(self, total: torch.Tensor, num_rows: int) -> tuple[float, int]:
        """The mean loss of an epoch, and its rows, of all ranks."""
        losses, rows = map(sum, zip(*self.communicator.all_gather(lambda: (float(total), num_rows)), strict=True))
        if not math.isfinite(losses):
            raise ValueError(
                f"loss: expected a finite one, got {losses} in epoch {self.state['total']}; lower the lr, "
                "and check packed frames by `vltr-train inspect DIR --verify`"
            )
        return losses / rows, rows

    def seed_of(self, number: int) -> int:
        """The seed of a stage."""
        return derived_seed(self.config.seed, number)

    def average_precision(self, split: str) -> np.ndarray:
        """AP of each class on "train" or "validate", never on the test split."""
        rows = {"train": self.dataset.train, "validate": self.dataset.validate}[split]
        return class_average_precision(self.method, rows, self.dataset, self.context)

    def loaders_of(self, number: int, stage: Stage) -> list[Loader]:
        """One for each batch of a step."""
        loaders = [
            Loader(
                self.dataset.train,
                sampler=sampler,
                batch_size=stage.batch_size,
                num_frames=self.config.train_frames,
                frame_sampling=self.config.frame_sampling,
                seed=self.seed_of(number),
                stream=stream,
                **self.context.of_batches,
            )
            for stream, sampler in enumerate(stage.samplers)
        ]
        if len({loader.num_batches for loader in loaders}) > 1:
            raise ValueError(
                f"samplers: expected as many batches of each in an epoch of stage {stage.name!r}, got others"
            )
        return loaders

    def evaluate(self, is_last_stage: bool, is_end: bool, line: dict[str, Any]) -> dict[str, float]:
        """Metrics of the selecting split; keeps the method where it is the best so far of its last stage."""
        found: dict[str, float] = {}
        if self.selecting is not None:
            whole = score(self.method, self.selecting, self.dataset, self.context)
            found = {name: value for name, value in whole.metrics().items() if value == value}
        best = self.state["best"]
        if self.selecting is None or self.config.select_on == "last":
            is_better = is_end
        else:
            is_better = best is None or found.get("mAP", -1.0) > best["mAP"]
        if is_last_stage and is_better:
            self.state["best"] = {"mAP": found.get("mAP", -1.0), "epoch": line["epoch"]}
            if self.communicator.rank == 0:
                self.folder.save_checkpoint("best", {"method": self.method.state_dict(), **self.state["best"]})
        return found

    def record(self, line: dict[str, Any], said: str | None, bar: ProgressBar) -> None:
        """Writes what an epoch gave, and says what the end of its stage found out. The checkpoint comes last: what it
        says is done has been written.
        """
        if self.communicator.rank:
            return
        self.folder.append_epoch(line)
        self.folder.save_checkpoint("checkpoint", self.state)
        if not self.quiet:
            bar.wipe()
            sys.stderr.writelines(f"{text}\n" for text in (_sentence(line), said) if text)

    def said(self, stage: Stage, epoch: int) -> str:
        best = self.state["best"]
        return f"{stage.name} {epoch + 1}/{stage.epochs}" + (f", best mAP {best['mAP']:.4f}" if best else "")

    def finish(self) -> Report | None:
        """Predictions and report of the selected method, on the test split where there is one."""
        self.communicator.barrier()  # the first rank has written what all read now
        load_weights(self.method, self.folder.load_checkpoint("best"), self.folder.checkpoint_file("best"))
        split = self.dataset.test if self.dataset.test is not None else self.dataset.validate
        return None if split is None else write_report(self.method, split, self.dataset, self.folder, self.context)


def _selecting_split(dataset: Dataset, select_on: str) -> Split | None:
    """The split that may judge checkpoints: never the test split unless it is asked for by name."""
    if not isinstance(dataset.train, TrainSplit):
        raise TypeError(f"dataset: expected a TrainSplit to train on, got {type(dataset.train).__name__}")
    if select_on == "test":
        if not isinstance(dataset.test, TestSplit):
            raise ValueError("select_on: expected a data set with a test split, got one without")
        return dataset.test
    if not isinstance(dataset.validate, ValSplit | None):
        raise TypeError(f"dataset: expected a ValSplit to select on, got {type(dataset.validate).__name__}")
    return dataset.validate


def _sentence(line: dict[str, Any]) -> str:
    """The results of an epoch as a line to print."""
    judged = "".join(f", {name} {line[name]:.4f}" for name in ("mAP", "mAP_tail") if name in line)
    return f"epoch {line['epoch']} ({line['stage']}): loss {line['loss']:.5f}{judged}, {line['seconds']:.1f} s"
