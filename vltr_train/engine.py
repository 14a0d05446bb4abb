"""The training loop: stages, epochs, steps, checkpoints and resumption.

All training state is in the checkpoint. Every epoch seeds its draws anew from the seed, the stage, the epoch and the
rank, so a resumed run equals an uninterrupted one to the bit.
"""

from __future__ import annotations

import math
import os
import sys
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vltr_eval import Report
from vltr_eval._base.ranks import current_group, propagate_errors
from vltr_eval._base.terminal import ProgressBar
from vltr_train.context import RunContext, lost_ranks
from vltr_train.data.dataset import Dataset, Split, open_dataset, selecting_split
from vltr_train.data.loader import Loader, derived_seed
from vltr_train.method import Method, Stage, Task
from vltr_train.method_source import FoundMethod, resolve_method
from vltr_train.predict import class_average_precision, load_weights, score, validation_logits, write_report
from vltr_train.runs.checkpoint_writer import CheckpointWriter
from vltr_train.runs.finished import Run
from vltr_train.runs.run_folder import RunFolder, choose_start, run_document
from vltr_train.schedule import describe_epoch, describe_precision, describe_schedule
from vltr_train.settings import build_config
from vltr_train.train_state import StageRun, TrainState

__all__ = ["Run", "fit"]


def fit(
    method: str | type[Method] | FoundMethod,
    dataset: Dataset | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    preset: str | None = None,
    resume: bool | str = False,
    overwrite: bool = False,
    checkpoint_every: int = 1,
    device: str | None = None,
    store: str = "auto",
    threads: int | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train a method on a data set, and write a run folder that ``vltr-eval`` and `table` read.

    If torch.distributed is initialised, every rank calls this, and each gets a share of every batch.

    Args:
        method: A name of `all_methods`, a subclass of `Method`, "FILE.py:CLASS" or "PACKAGE.MODULE:CLASS", or what
            `resolve_method` returned for one.
        dataset: A `Dataset`, or the folder of one.
        folder: The run folder; it must be new unless the run is resumed or overwritten.
        preset: A preset of the method; a name may have it as "NAME:PRESET" too.
        resume: True resumes an existing run from its last checkpoint, or from the start if it has no finished epoch;
            "auto" starts one if there is none.
        overwrite: Replace an existing run.
        checkpoint_every: The epochs between two checkpoints to resume from. The end of a stage always has one.
        device: Default: a GPU if there is one.
        store: "auto", "host" or "device": see `resident_frames`.
        threads: Threads of the core for batches and metrics; the model takes torch's.
        quiet: Print no stages, epochs, notes and progress on stderr.
        **settings: Fields of the method's Config, and ``protocol="official"``.

    Returns:
        The finished `Run`.

    Raises:
        ValueError: A setting, the data set or the run folder does not fit, a file cannot be written, or the loss is not
            finite.

    Example:
        >>> run = fit("framestack", "data", "runs/framestack", epochs=20, seed=1)      # doctest: +SKIP
        >>> run.report.metrics()["mAP_tail"]                                           # doctest: +SKIP
    """
    communicator = current_group()
    with propagate_errors(communicator):
        if checkpoint_every < 1:
            raise ValueError(f"checkpoint_every: expected at least 1, got {checkpoint_every}")
        dataset = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
        found = resolve_method(method, preset)
        config = build_config(found.kind, found.preset, settings)
        selecting = selecting_split(dataset, config.select_on)
        context = RunContext.choose(dataset, communicator, device=device, store=store, threads=threads)
        torch.manual_seed(derived_seed(config.seed))
        model = found.kind(config, Task.of(dataset)).to(context.device)
        if communicator.size > 1 and context.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        if config.compile:
            for module in model.compiled():
                module.compile()
        training = _Training(model, dataset, selecting, context, quiet or communicator.rank > 0)
        document = run_document(**found.document, config=config, dataset=dataset, argv=sys.argv)
        document |= {"notes": model.notes(), "epochs": sum(stage.epochs for stage in training.stages)}
        how: dict[str, Any] = choose_start(folder, document, resume, overwrite, communicator)
        training.folder = RunFolder.start(folder, document, is_first=communicator.rank == 0, found=found, **how)
        training.writer, training.checkpoint_every = CheckpointWriter(training.folder), checkpoint_every
    communicator.barrier()  # the first rank has made the folder
    with training.folder, lost_ranks(communicator), training.writer:
        training.run()
        return Run(training.folder, model, training.finish())


class _Training:
    """The loop over the stages of a method."""

    folder: RunFolder
    writer: CheckpointWriter
    checkpoint_every: int

    def __init__(
        self, method: Method, dataset: Dataset, selecting: Split | None, context: RunContext, quiet: bool
    ) -> None:
        self.method, self.dataset, self.selecting, self.context, self.quiet = method, dataset, selecting, context, quiet
        self.config, self.communicator, self.device = method.config, context.communicator, context.device
        self.stages = method.stages()
        for number, stage in enumerate(self.stages):
            self.loaders_of(number, stage)  # raises now, and not after the stages before it
        self.state = TrainState()

    def run(self) -> None:
        if self.folder.has_checkpoint("checkpoint"):
            self.state = TrainState.from_checkpoint(self.folder.load_checkpoint("checkpoint", TrainState.PROGRESS))
            for stage in self.stages[: self.state.stage]:
                self.method.begin_stage(stage)  # later stages keep its frozen and added parameters
        if not self.quiet:
            lines = describe_schedule(self.method, self.stages, self.dataset, self.state.total)
            lines += describe_precision(self.config.precision, self.device)
            sys.stderr.writelines(f"{line}\n" for line in lines)
        if self.communicator.rank == 0 and self.folder.epochs:
            self.folder.rewind(self.state.total - 1)
        for number in range(self.state.stage, len(self.stages)):
            self.run_stage(number, self.stages[number])
            self.state.stage, self.state.epoch, self.state.tensors = number + 1, 0, {}

    def run_stage(self, number: int, stage: Stage) -> None:
        state, method = self.state, self.method
        torch.manual_seed(self.seed_of(number))
        method.begin_stage(stage)
        optimizer = stage.optimizer([p for p in method.parameters() if p.requires_grad], lr=stage.rate(0))
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.config.precision == "float16")
        if state.tensors:  # resumed within this stage; begin_stage may have changed the parameters
            load_weights(method, state.tensors, self.folder.checkpoint_file("checkpoint"))
            if state.epoch < stage.epochs:
                optimizer.load_state_dict(state.tensors["optimizer"])
            scaler.load_state_dict(state.tensors["scaler"])
            state.tensors = {}  # the memory of the file
        loaders = self.loaders_of(number, method.stages()[number])
        loss_of = method if self.communicator.size == 1 else DistributedDataParallel(method)
        with ProgressBar(sys.stderr, enabled=not self.quiet, done=state.epoch / stage.epochs) as bar:
            run = StageRun(stage, self.seed_of(number), loaders, loss_of, optimizer, scaler, bar)
            for epoch in range(state.epoch, stage.epochs):
                line = self.run_epoch(run, epoch)
                # An error of the write is raised here, on all ranks, before anything builds on this epoch.
                self.communicator.all_gather(self.writer.wait)
                is_end, is_best = epoch == stage.epochs - 1, False
                if is_end or (epoch + 1) % self.config.eval_every == 0:
                    metrics, is_best = self.evaluate(stage is self.stages[-1], is_end, line)
                    line |= metrics
                if is_best and is_end and self.communicator.rank == 0:  # now, as end_stage may change buffers
                    self.writer.save(next_best=state.to_best(method))
                message = method.end_stage(stage, self.average_precision) if is_end else None
                state.stage, state.epoch, state.total = number, epoch + 1, state.total + 1
                self.record(line, message, run, is_best and not is_end)

    def run_epoch(self, run: StageRun, epoch: int) -> dict[str, Any]:
        """Train for one epoch; return its line of metrics.csv without the metrics."""
        stage, loaders, optimizer, scaler = run.stage, run.loaders, run.optimizer, run.scaler
        start = time.perf_counter()
        torch.manual_seed(derived_seed(run.seed, epoch, self.communicator.rank))
        self.method.train()
        self.method.begin_epoch(epoch, loaders[0].num_rows)
        total, num_rows, num_steps = torch.zeros((), device=self.device), 0, loaders[0].num_batches
        clipped = self.method.clipped()
        for step, batches in enumerate(zip(*(loader.epoch(epoch) for loader in loaders), strict=True)):
            rate = stage.rate(epoch + step / num_steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            with self.context.autocast(self.config.precision):
                loss = run.loss_of(*batches)
            scaler.scale(loss * batches[0].weight).backward()
            if stage.clip_norm is not None:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(clipped, stage.clip_norm)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            if self.communicator.size == 1:  # ranks learn of a failed write together, at the end of the epoch
                self.writer.check()
            loss = loss.detach()
            total += loss * len(batches[0].rows)
            num_rows += len(batches[0].rows)
            if run.bar.is_due:  # only a redraw waits for the device
                text = f"{self.progress_text(stage, epoch)}, loss {float(loss):.4f}"
                run.bar((epoch + step / num_steps) / stage.epochs, text)
        loss, rows = self.mean_loss(total, num_rows)
        self.method.end_epoch()
        if self.communicator.size > 1:  # batch statistics differ by rank: all continue with those that are saved
            for buffer in self.method.buffers():
                torch.distributed.broadcast(buffer, 0)
        seconds = time.perf_counter() - start
        line = {"epoch": self.state.total, "stage": stage.name, "lr": rate, "loss": loss}
        return line | {"seconds": round(seconds, 3), "videos_per_second": round(rows / seconds, 1)}

    def mean_loss(self, total: torch.Tensor, num_rows: int) -> tuple[float, int]:
        """Return the mean loss of an epoch and its number of rows, over all ranks."""
        losses, rows = map(sum, zip(*self.communicator.all_gather(lambda: (float(total), num_rows)), strict=True))
        if not math.isfinite(losses):
            raise ValueError(
                f"loss: expected a finite one, got {losses} in epoch {self.state.total}; lower the lr, "
                "and check packed frames by `vltr-train inspect DIR --verify`"
            )
        return losses / rows, rows

    def seed_of(self, number: int) -> int:
        """Return the seed of a stage."""
        return derived_seed(self.config.seed, number)

    def average_precision(self, split: str) -> np.ndarray:
        """Return the AP of each class on "train" or "validate", never on the test split."""
        rows = {"train": self.dataset.train, "validate": self.dataset.validate}[split]
        return class_average_precision(self.method, rows, self.dataset, self.context)

    def loaders_of(self, number: int, stage: Stage) -> list[Loader]:
        """Return one loader for each batch of a step."""
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
        num_batches = [loader.num_batches for loader in loaders]
        if len(set(num_batches)) > 1:
            counts = " and ".join(map(str, num_batches))
            raise ValueError(
                f"samplers: expected as many batches of each in an epoch of stage {stage.name!r}, got {counts}"
            )
        return loaders

    def evaluate(self, is_last_stage: bool, is_end: bool, line: dict[str, Any]) -> tuple[dict[str, float], bool]:
        """Return the metrics of the selecting split, and whether the method is the best so far of the last stage."""
        found: dict[str, float] = {}
        if is_last_stage and (is_end or self.selecting is not None):
            found |= self.method.calibrate(partial(validation_logits, self.method, self.dataset, self.context)) or {}
        if self.selecting is not None:
            whole = score(self.method, self.selecting, self.dataset, self.context)
            found |= {name: value for name, value in whole.metrics().items() if value == value}
        best = self.state.best
        if self.selecting is None or self.config.select_on == "last":
            is_better = is_end
        else:
            is_better = best is None or found.get("mAP", -1.0) > best["mAP"]
        is_best = is_last_stage and is_better
        if is_best:
            self.state.best = {"mAP": found.get("mAP", -1.0), "epoch": line["epoch"]}
        return found, is_best

    def record(self, line: dict[str, Any], message: str | None, run: StageRun, is_best: bool) -> None:
        """Write the line of an epoch, then its checkpoints; print the line and the message of the stage's end.

        The checkpoint to resume from comes last, so that everything it counts as done has been written.
        """
        if self.communicator.rank:
            return
        self.folder.append_epoch(line)
        states = {"next_best": self.state.to_best(self.method)} if is_best else {}
        if self.state.epoch == run.stage.epochs or self.state.total % self.checkpoint_every == 0:
            states["checkpoint"] = self.state.to_checkpoint(self.method, run)
        self.writer.save(**states)
        if not self.quiet:
            run.bar.wipe()
            sys.stderr.writelines(f"{text}\n" for text in (describe_epoch(line), message) if text)

    def progress_text(self, stage: Stage, epoch: int) -> str:
        best = self.state.best
        return f"{stage.name} {epoch + 1}/{stage.epochs}" + (f", best mAP {best['mAP']:.4f}" if best else "")

    def finish(self) -> Report | None:
        """Write predictions and report of the selected method, on the test split if there is one."""
        self.communicator.all_gather(self.writer.wait)  # all ranks read the checkpoint that the first one writes
        load_weights(self.method, self.folder.load_checkpoint("best"), self.folder.checkpoint_file("best"))
        split = self.dataset.test if self.dataset.test is not None else self.dataset.validate
        return None if split is None else write_report(self.method, split, self.dataset, self.folder, self.context)
