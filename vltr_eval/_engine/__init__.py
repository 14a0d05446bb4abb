"""The engine of an evaluation: labels, the pass over the scores, its counts, and the report that they make."""
