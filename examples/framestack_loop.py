"""Train with FrameStack in a loop of your own: `frame_stack` mixes the clips, `RunningAP` says how much.

Run: python examples/framestack_loop.py

FrameStack (VideoLT, arXiv 2105.02668, Algorithm 1) takes more frames from the partner of a clip if the classes of the
clip have a high AP already. That AP comes from the predictions of the epoch before. `vltr_train.fit` does all of this;
copy this loop if you have your own data and your own model.
"""

import torch
from torch import nn

import vltr_eval
import vltr_train

NUM_VIDEOS, NUM_CLASSES, FRAMES, DIM, BATCH = 960, 12, 20, 16, 64


def make_clips(seed, looks):
    """Clips (N, T, D) whose class appears in five of their frames, and labels (N, C); low classes are frequent."""
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.arange(1, NUM_CLASSES + 1).float().reciprocal()
    classes = torch.multinomial(frequency, NUM_VIDEOS, replacement=True, generator=generator)
    clips = torch.randn(NUM_VIDEOS, FRAMES, DIM, generator=generator)
    clips[:, 8:13] += looks[classes][:, None]
    return clips, nn.functional.one_hot(classes, NUM_CLASSES).float()


def main():
    torch.manual_seed(0)
    looks = 1.5 * torch.randn(NUM_CLASSES, DIM)
    clips, labels = make_clips(1, looks)
    val_clips, val_labels = make_clips(2, looks)
    model = nn.Linear(DIM, NUM_CLASSES)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    running = vltr_eval.RunningAP(NUM_CLASSES, capacity=NUM_VIDEOS)
    rap = None  # no running AP in the first epoch, which mixes nothing
    for epoch in range(6):
        running.reset()
        for rows in torch.randperm(NUM_VIDEOS).split(BATCH):
            clean, targets, beta = clips[rows], labels[rows], torch.zeros(1)
            with torch.no_grad():
                running.update(model(clean.mean(1)), targets)
            mixed = clean
            if rap is not None:
                half = len(rows) // 2  # the first half of the batch is mixed
                mixed, targets, beta = vltr_train.frame_stack(
                    clean, targets, rap, torch.randperm(half), FRAMES, num_mixed=half
                )
            loss = nn.functional.binary_cross_entropy_with_logits(model(mixed.mean(1)), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        rap = running.compute().float()
        with torch.no_grad():
            found = vltr_eval.mean_average_precision(model(val_clips.mean(1)), val_labels)
        print(f"epoch {epoch}: running mAP {rap.mean():.4f}, validation mAP {found:.4f}, last betas {beta[:3].numpy()}")


if __name__ == "__main__":
    main()
