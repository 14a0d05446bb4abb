"""Validate a model in a plain PyTorch loop: `Evaluator` takes the batches and gives one exact report.

Run: python examples/validate_in_pytorch.py

`update` takes the logits and labels of a batch on any device. Give it logits rather than sigmoids: a sigmoid rounds
large logits to 1.0, which makes ties.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import vltr_eval

NUM_CLASSES, DIM = 20, 16
SHOWN = "mAP", "mAP_head", "mAP_medium", "mAP_tail", "Acc@1"


def make_data(num_rows, seed, centers):
    """Features (N, D) around the center of each row's class, and labels (N, C) of 0/1; low classes are frequent."""
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.arange(1, NUM_CLASSES + 1).float().reciprocal()
    classes = torch.multinomial(frequency, num_rows, replacement=True, generator=generator)
    features = centers[classes] + torch.randn(num_rows, DIM, generator=generator)
    return TensorDataset(features, nn.functional.one_hot(classes, NUM_CLASSES))


@torch.no_grad()
def validate(model, loader, train_counts):
    model.eval()
    evaluator = vltr_eval.Evaluator(NUM_CLASSES, train_counts=train_counts, bounds=(300, 120), sap="exact", topk=(1,))
    for features, labels in loader:
        evaluator.update(model(features), labels)
    return evaluator.compute()


def main():
    torch.manual_seed(0)
    centers = torch.randn(NUM_CLASSES, DIM)
    train, val = make_data(4000, 1, centers), make_data(1500, 2, centers)
    train_counts = train.tensors[1].sum(0).numpy()
    model = nn.Linear(DIM, NUM_CLASSES)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(5):
        model.train()
        for features, labels in DataLoader(train, batch_size=100, shuffle=True):
            loss = nn.functional.binary_cross_entropy_with_logits(model(features), labels.float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        metrics = validate(model, DataLoader(val, batch_size=256), train_counts).metrics()
        shown = "  ".join(f"{name} {metrics[name]:.4f}" for name in SHOWN)
        print(f"epoch {epoch}: loss {loss:.4f}  {shown}")


if __name__ == "__main__":
    main()
