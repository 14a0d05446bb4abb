"""Train with a method of your own: one file with a `Method` subclass, here examples/methods/asymmetric.py.

Run: python examples/new_method.py

The name of a method is the name of its file. vltr_train looks for methods in the folders of
`vltr_train.methods.__path__`, so appending your folder adds your methods. Everything then works as for built-in ones:
settings, stages, checkpoints, resuming, `evaluate_run` and `table`. A process that reads such a run appends it too.
"""

import tempfile
from pathlib import Path

import vltr_train
import vltr_train.cli
import vltr_train.methods

vltr_train.methods.__path__.append(str(Path(__file__).parent / "methods"))

SETTINGS = {"epochs": 12, "eval_every": 4, "batch_size": 64, "lr": 1e-2, "train_frames": 10, "test_frames": 20}


def main():
    print(f"asymmetric: {vltr_train.find_method('asymmetric').paper}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        vltr_train.synthesize(root / "data", scale=0.005, dim=64)
        data = vltr_train.open_dataset(root / "data")
        runs = []
        for method, settings in (("bce", {}), ("asymmetric", {"gamma_negative": 2.0})):
            run = vltr_train.fit(method, data, root / method, device="cpu", quiet=True, **SETTINGS, **settings)
            print(f"{method}: test mAP {run.report.metrics()['mAP']:.4f}")
            runs.append(run.folder)
        print(vltr_train.table(runs, format="markdown"))

        again = vltr_train.evaluate_run(root / "asymmetric", data, device="cpu")
        print(f"evaluated again: test mAP {again.metrics()['mAP']:.4f}")

    # The program `vltr-train` does not know the folder. A script that appends it and calls `main` does.
    vltr_train.cli.main(["methods", "asymmetric"])


if __name__ == "__main__":
    main()
