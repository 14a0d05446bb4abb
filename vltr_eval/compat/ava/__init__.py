"""AVA's frame mAP, as the official script of the ActivityNet challenge computes it, and sampled AP over its boxes.

``vltr_eval.compat.ava.evaluate("detections.csv", "ava_val_v2.2.csv", labelmap="...pbtxt")`` stands for
``python get_ava_performance.py -d detections.csv -g ava_val_v2.2.csv -l ...pbtxt``, and ``official_metrics()`` of what
it returns for the script's output; ``vltr-eval ava`` is the same as a program.

The official protocol, which is the default here (`Protocol` has the variants of other code bases):

1. An image is a video and a time to six decimals. The ground truth says which images there are, by rows of boxes (of
   whatever class) or by rows of two columns for images without boxes; detections elsewhere are ignored.
2. Classes that the label map does not list are ignored. The 50 best detections of an image count.
3. Detections with x2 <= x1 or y2 <= y1 are dropped.
4. Within image and class, detections take their boxes in order of score. Each looks at the one box that it overlaps
   most: when the overlap (IoU) is at least 0.5 and the box is still free it is found, else the detection is a false
   positive.
5. AP of a class is the area under the upper envelope of its precision-recall curve (VOC, all points), where recall is
   over all boxes of the class, found or not: 0 without detections, NaN without boxes. mAP is the mean of the rest.

DIFFERS from the original where detections and ground truth do not belong together: it then gives a low mAP, and this
module an error (see `evaluate`). Rows that do not count are counted in the report's notes.

Where the original lets the order of rows (and the processor's sort) decide, this module does not look at it:

* Equal scores are one threshold of the curve. Without ties the result is the original's to rounding; with ties it is
  the lowest that an order of the tied detections could give, and `AvaReport.mAP_tie_interval` has the highest.
* Where the score of an image's 50th detection is also that of its 51st, the original keeps whichever came first in the
  file. Here the smaller (class, x1, y1, x2, y2) stays. The same order decides between boxes of equal overlap.

Sampled AP (arXiv 1904.12993, Eq. 3) of class c is the mean over trials of the AP of a balanced pool. The positives are
all P boxes of c in the ground truth: found ones are scored by the detection that found them, missed ones have no score
and are never retrieved, but stay in the denominator of recall. (The paper reports 23.2 for a class of 32 boxes; were
missed boxes left out, no pool of 32 positives could be under 31.5, or 50 by the envelope.) The negatives are as many,
P, of the class's false positives, drawn without replacement, or all where there are no more. Hence AP in a trial is

    1/P sum over found boxes of (envelope of) tp / (tp + drawn false positives at or above the box's score).

A draw depends on seed, class, trial and the numbers of boxes and false positives alone, the latter numbered by image,
corners and score: models that score the same person boxes are compared on much the same negatives.

Only false positives that the file lists can be drawn. A file without low scores, or the cap of 50 an image, takes the
easy negatives away: sampled AP then falls, by a lot, while AP hardly moves. Compare files that were cut in one way.

The limit of infinitely many trials has a closed form for the step-wise AP only, without the envelope, because the
envelope's maximum does not commute with the mean. It is reported as ``expected_step_SAP``, which the sampled AP by the
envelope exceeds a little, and beside it ``step_SAP_chance``: what scores in random order would reach, given which boxes
were found.
"""

from __future__ import annotations

from vltr_eval.compat.ava.files import Boxes, Images
from vltr_eval.compat.ava.matching import PROTOCOLS, Protocol
from vltr_eval.compat.ava.protocol import evaluate
from vltr_eval.compat.ava.report import INTERPOLATIONS, AvaReport, AvaSettings

__all__ = ["INTERPOLATIONS", "PROTOCOLS", "AvaReport", "AvaSettings", "Boxes", "Images", "Protocol", "evaluate"]
