"""The published conventions of average precision: one set of scores and labels, many numbers called mAP."""
