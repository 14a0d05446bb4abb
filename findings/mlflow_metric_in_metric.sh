#!/usr/bin/env bash
# mlflow-skinny 3.17.2
#
# The file store of MLflow cannot hold a metric `loss` beside `loss/train`; a batch with both stores a part of it.
#
# Both names are valid, and each is a file below metrics/. The second one needs a folder where the first is a file, or
# the other way round, and ends in an error of the file system. `log_metrics` writes the metrics before it all the same.
#
# Output seen:
#   loss, then loss/train:  ['none', 'NotADirectoryError']
#   loss/train, then loss:  ['none', 'IsADirectoryError']
#   log_metrics of a, loss/train, loss: MlflowException; stored: ['a', 'loss/train']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet mlflow-skinny==3.17.2
MLFLOW_ALLOW_FILE_STORE=true MLFLOW_DISABLE_TELEMETRY=true env/bin/python - <<'PYTHON'
import mlflow

mlflow.set_tracking_uri("file:mlruns")


def error_of(log):
    try:
        log()
    except Exception as error:
        return type(error).__name__
    return "none"


def one_after_other(*names):
    with mlflow.start_run():
        return [error_of(lambda name=name: mlflow.log_metric(name, 1.0)) for name in names]


first, second = one_after_other("loss", "loss/train"), one_after_other("loss/train", "loss")
print("loss, then loss/train: ", first)
print("loss/train, then loss: ", second)
with mlflow.start_run() as run:
    third = error_of(lambda: mlflow.log_metrics({"a": 1.0, "loss/train": 1.0, "loss": 1.0}))
stored = sorted(mlflow.get_run(run.info.run_id).data.metrics)
print(f"log_metrics of a, loss/train, loss: {third}; stored: {stored}")
assert first == ["none", "NotADirectoryError"]
assert second == ["none", "IsADirectoryError"]
assert third != "none" and stored == ["a", "loss/train"]
PYTHON
