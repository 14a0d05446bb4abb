"""Drop-in modules: the names, arguments and results of other libraries' metrics, computed by vltr_eval.

One module for each original, imported by itself: changing the import line is the whole switch. Only the module that
needs torch, torchmetrics, torcheval or scikit-learn imports it; vltr_eval itself needs numpy alone.
"""
