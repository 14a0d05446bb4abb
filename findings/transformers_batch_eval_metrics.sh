#!/usr/bin/env bash
# transformers 5.24.0, accelerate 1.15.0, torch 2.13.0
#
# With `batch_eval_metrics` and an own eval loader, `compute_result` is never true in evaluate(), and always in train().
#
# `get_eval_dataloader` may be overridden. The Trainer asks accelerate whether the loader is at its end, and accelerate
# knows only loaders that went through `accelerator.prepare`. For a plain DataLoader it answers for the loader of the
# training: evaluate() gets no metrics, and an evaluation at the end of an epoch logs those of the last batch alone. No
# error and no warning says so. `return self.accelerator.prepare(loader)` gives the right answers.
#
# Output seen:
#   plain,    evaluate(): [False, False, False]
#   plain,    train():    [True, True, True], eval_rows 2 of 10
#   prepared, evaluate(): [False, False, True]
#   prepared, train():    [False, False, True], eval_rows 10 of 10
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet transformers==5.24.0 accelerate==1.15.0 torch==2.13.0 numpy==2.4.6
HF_HUB_OFFLINE=1 env/bin/python - <<'PYTHON'
import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

data = [{"x": torch.ones(2), "labels": torch.ones(1)} for _ in range(10)]


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, x, labels=None):
        scores = self.linear(x)
        return {"loss": ((scores - labels) ** 2).mean(), "logits": scores}


def run(is_prepared):
    calls, rows = [], []

    def compute_metrics(batch, compute_result):
        calls.append(bool(compute_result))
        rows.append(len(batch.predictions))
        if not compute_result:
            return {}
        total = sum(rows)
        rows.clear()
        return {"rows": total}

    class OwnLoader(Trainer):
        def get_eval_dataloader(self, eval_dataset=None):
            loader = DataLoader(data, batch_size=4)
            return self.accelerator.prepare(loader) if is_prepared else loader

    arguments = TrainingArguments(
        "out",
        batch_eval_metrics=True,
        eval_strategy="epoch",
        num_train_epochs=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = OwnLoader(Model(), arguments, train_dataset=data, eval_dataset=data, compute_metrics=compute_metrics)
    trainer.log = lambda logs, *others: logged.append(logs)
    logged = []
    found = trainer.evaluate()
    in_evaluate, seen = list(calls), found.get("eval_rows")
    calls.clear(), rows.clear(), logged.clear()
    trainer.train()
    return in_evaluate, seen, calls, [logs["eval_rows"] for logs in logged if "eval_rows" in logs]


plain, prepared = run(False), run(True)
print(f"plain,    evaluate(): {plain[0]}")
print(f"plain,    train():    {plain[2]}, eval_rows {plain[3][0]} of 10")
print(f"prepared, evaluate(): {prepared[0]}")
print(f"prepared, train():    {prepared[2]}, eval_rows {prepared[3][0]} of 10")
assert plain == ([False] * 3, None, [True] * 3, [2])
assert prepared == ([False, False, True], 10, [False, False, True], [10])
PYTHON
