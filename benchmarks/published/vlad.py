"""NetVLAD and NeXtVLAD on the CPU, written plainly from their definitions, with a linear classifier.

Legend: B rows of a batch, T frames, D features, K clusters, G groups.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class NetVLAD(nn.Module):
    """NetVLAD as VideoLT has it (arXiv 2105.02668): a gate for each cluster, and no centers."""

    def __init__(self, dim: int, clusters: int = 64, hidden: int = 1024) -> None:
        super().__init__()
        self.input_norm = nn.BatchNorm1d(dim)
        self.assignment = nn.Linear(dim, clusters, bias=False)
        self.assignment_norm = nn.BatchNorm1d(clusters)
        self.gate = nn.Parameter(nn.init.xavier_normal_(torch.empty(clusters, dim)))
        self.hidden = nn.Sequential(
            nn.Linear(dim * clusters, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU6(), nn.Dropout(0.0)
        )

    def normal(self, features: Tensor) -> Tensor:
        """Normalise features (B, T, D)."""
        return self.input_norm(features.reshape(-1, features.shape[2])).view(features.shape)

    def encode(self, frames: Tensor) -> Tensor:
        """Encode normalised frames (B, T, D): (B, H)."""
        num_rows, num_frames, dim = frames.shape
        shares = self.assignment_norm(self.assignment(frames.view(-1, dim))).softmax(1).view(num_rows, num_frames, -1)
        sums = (shares.transpose(1, 2) @ frames) * torch.sigmoid(self.gate)  # (B, K, D)
        vectors = normalize(normalize(sums.transpose(1, 2), dim=1).reshape(num_rows, -1), dim=1)
        return self.hidden(vectors)


class NetVLADClassifier(NetVLAD):
    """NetVLAD and a linear classifier."""

    def __init__(self, dim: int, num_classes: int, clusters: int = 64, hidden: int = 1024) -> None:
        super().__init__(dim, clusters, hidden)
        self.classifier = nn.Linear(hidden, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """features: (B, T, D)."""
        return self.classifier(self.encode(self.normal(features)))


class NeXtVLADClassifier(nn.Module):
    """NeXtVLAD (arXiv 1811.05014)."""

    def __init__(
        self, dim: int, num_classes: int, dropout: float = 0.5, clusters: int = 64, hidden: int = 1024, groups: int = 8
    ) -> None:
        super().__init__()
        width = 2 * dim
        part = width // groups
        self.expansion = nn.Linear(dim, width)
        self.attention = nn.Linear(width, groups)
        self.assignment = nn.Linear(width, groups * clusters, bias=False)
        self.assignment_norm = nn.BatchNorm1d(groups * clusters)
        self.centers = nn.Parameter(torch.randn(part, clusters) * part**-0.5)
        self.hidden = nn.Sequential(
            nn.BatchNorm1d(part * clusters),
            nn.Dropout(dropout),
            nn.Linear(part * clusters, hidden, bias=False),
            nn.BatchNorm1d(hidden),
        )
        self.gate = nn.Sequential(
            nn.Linear(hidden, hidden // 8, bias=False),
            nn.BatchNorm1d(hidden // 8),
            nn.ReLU(),
            nn.Linear(hidden // 8, hidden, bias=False),
            nn.Sigmoid(),
        )
        self.classifier = nn.Linear(hidden, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """features: (B, T, D)."""
        frames = self.expansion(features)
        num_rows, (part, clusters) = len(frames), self.centers.shape
        attention = torch.sigmoid(self.attention(frames)).view(num_rows, -1, 1)
        scores = self.assignment_norm(self.assignment(frames).flatten(0, 1)).view(num_rows, -1, clusters)
        shares = scores.softmax(2) * attention
        mass = shares.sum(1, keepdim=True)
        sums = torch.bmm(shares.transpose(1, 2), frames.reshape(num_rows, -1, part)).transpose(1, 2)
        vectors = self.hidden(normalize(sums - mass * self.centers, dim=1).reshape(num_rows, -1))
        return self.classifier(vectors * self.gate(vectors))
