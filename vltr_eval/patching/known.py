"""The functions and classes that have a drop-in: where they are, and the versions with which they were tested.

scikit-learn, torchmetrics and torcheval have versions. Their functions are known by the module that defines them, and
replaced for tested versions only. Every other function is known by its name and by the fingerprint of its code,
wherever it is: people paste it into their own repositories, or install its repository without a release. A changed copy
stays as it is. `tools/fingerprint_copies.py` computes the fingerprints from the public files that the table cites.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vltr_eval._base.arguments import nearest_hint

__all__ = ["LIBRARIES", "Known", "Library", "Source", "libraries_of"]


@dataclass(frozen=True)
class Source:
    """A public file with the code of a copy: a GitHub repository, a commit and a path, and the fingerprint."""

    repository: str
    commit: str
    path: str
    fingerprint: str


@dataclass(frozen=True)
class Known:
    """A function or class that has a drop-in."""

    name: str
    drop_in: str
    """Module and name below vltr_eval.compat, as "sklearn:roc_auc_score"."""
    home: str = ""
    """The module that defines it; empty for a copy, which may be anywhere."""
    sources: tuple[Source, ...] = ()
    """The public files whose code counts as this function."""
    helpers: tuple[str, ...] = ()
    """Functions of the same file that belong to its code."""
    feeds: tuple[str, ...] = ()
    """Methods of a class that take a batch."""
    results: tuple[str, ...] = ()
    """Methods of a class that compute."""
    options: tuple[tuple[str, Any], ...] = ()
    """Keywords that the drop-in receives."""
    silenced: tuple[str, ...] = ()
    """Globals through which the original writes; an estimate of its time does without them."""
    has_columns: bool = True
    """Whether its time is in proportion to the classes, so that whole columns stand for all; otherwise to the rows."""
    takes_columns: str = ""
    """Whether it calls `numpy.take` for each class: of the array that is "given", or of "its own" copy by columns."""
    timed: bool = True
    """Whether the original may run once more for an estimate of its time."""

    @property
    def fingerprints(self) -> frozenset[str]:
        return frozenset(source.fingerprint for source in self.sources)


@dataclass(frozen=True)
class Library:
    """The known functions of one package, or of one family of copies."""

    name: str
    functions: tuple[Known, ...]
    distribution: str = ""
    """The name on the package index; empty for copies."""
    package: str = ""
    """The module whose import completes the home modules."""
    tested: tuple[str, str] = ("", "")
    """The first tested version, and the first one after the tested versions."""
    registries: tuple[str, ...] = ()
    """Dictionaries and scorers that hold functions: "module:name", or "module:name.*" for the objects in it."""


def _functions(home: str, module: str, names: Sequence[str]) -> tuple[Known, ...]:
    return tuple(Known(name, f"{module}:{name}", home) for name in names)


def _metrics(home: str, module: str, names: Sequence[str]) -> tuple[Known, ...]:
    """Classes with `update` and `compute`."""
    return tuple(Known(name, f"{module}:{name}", home, feeds=("update",), results=("compute",)) for name in names)


_SKLEARN = Library(
    "sklearn",
    (
        *(
            dataclasses.replace(one, takes_columns="given")
            for one in _functions("sklearn.metrics._ranking", "sklearn", ("average_precision_score", "roc_auc_score"))
        ),
        *_functions("sklearn.metrics._ranking", "sklearn", ("precision_recall_curve", "roc_curve")),
        *(
            dataclasses.replace(one, has_columns=False)
            for one in _functions(
                "sklearn.metrics._ranking",
                "sklearn",
                ("label_ranking_average_precision_score", "top_k_accuracy_score"),
            )
        ),
    ),
    distribution="scikit-learn",
    package="sklearn.metrics",
    tested=("1.9", "1.10"),
    registries=("sklearn.metrics._scorer:_SCORERS.*",),
)

_TORCHMETRICS = Library(
    "torchmetrics",
    (
        *_metrics(
            "torchmetrics.classification.average_precision",
            "torchmetrics",
            ("BinaryAveragePrecision", "MulticlassAveragePrecision", "MultilabelAveragePrecision"),
        ),
        *_metrics(
            "torchmetrics.classification.auroc", "torchmetrics", ("BinaryAUROC", "MulticlassAUROC", "MultilabelAUROC")
        ),
        *_metrics("torchmetrics.classification.accuracy", "torchmetrics", ("MulticlassAccuracy",)),
        *_functions(
            "torchmetrics.functional.classification.average_precision",
            "torchmetrics",
            ("binary_average_precision", "multiclass_average_precision", "multilabel_average_precision"),
        ),
        *_functions(
            "torchmetrics.functional.classification.auroc",
            "torchmetrics",
            ("binary_auroc", "multiclass_auroc", "multilabel_auroc"),
        ),
        *_functions("torchmetrics.functional.classification.accuracy", "torchmetrics", ("multiclass_accuracy",)),
    ),
    distribution="torchmetrics",
    package="torchmetrics",
    tested=("1.7", "1.10"),
)

_TORCHEVAL = Library(
    "torcheval",
    (
        *_metrics("torcheval.metrics.classification.auprc", "torcheval", ("MultilabelAUPRC",)),
        *_functions("torcheval.metrics.functional.classification.auprc", "torcheval", ("multilabel_auprc",)),
    ),
    distribution="torcheval",
    package="torcheval.metrics",
    tested=("0.0.7", "0.0.8"),
)


def _copies(
    module: str, repository: str, commit: str, path: str, *names: tuple[str, tuple[str, ...], str]
) -> tuple[Known, ...]:
    """Functions of one file: the name, the helpers that belong to it, and the fingerprint of each."""
    return tuple(
        Known(name, f"{module}:{name}", helpers=helpers, sources=(Source(repository, commit, path, digest),))
        for name, helpers, digest in names
    )


def _same(known: Known, repository: str, commit: str, path: str, digest: str = "") -> Known:
    """Add a file that has the same function, or a variant with the same results."""
    source = Source(repository, commit, path, digest or known.sources[0].fingerprint)
    return dataclasses.replace(known, sources=(*known.sources, source))


def _meter(known: Known, *results: str) -> Known:
    """A class with `add` and methods that compute."""
    return dataclasses.replace(known, feeds=("add",), results=results)


_SLOWFAST = ("facebookresearch/SlowFast", "287ec0076846560f44a9327e931a5a2360240533")
_TIMESFORMER = ("facebookresearch/TimeSformer", "a5ef29a7b7264baff199a30b3306ac27de901133")
_AST = ("YuanGongND/ast", "31088be8a3f6ef96416145c4b8d43c81f99eba7a")
_SSAST = ("YuanGongND/ssast", "a1a3eecb94731e226308a6812f2fbf268d789caf")
_PSLA = ("YuanGongND/psla", "76aedd19ad3123be9c5d002809575955683aaade")
_ASL = ("Alibaba-MIIL/ASL", "8c9e0bd8d5d450cf19093363fc08aa7244ad4408")
_ML_DECODER = ("Alibaba-MIIL/ML_Decoder", "8a9e984f671c9c30c98d2c45dfcaf4383381c254")
_ML_GCN = ("Megvii-Nanjing/ML-GCN", "5517d6ff8012ead45c26a07b3a9d960cdaa0b9d1")
_ADD_GCN = ("Yejin0111/ADD-GCN", "b7653fe697a870826debcca4d23203c4e37e7d86")
_CLASSIFIER_BALANCING = ("facebookresearch/classifier-balancing", "f162adef63fdf592d0b8a0f6e52bc481fc08785f")
_OLTR = ("zhmiao/OpenLongTailRecognition-OLTR", "f50e375f123fd12dd0ae39e07aa226fadec32f33")
_CHARADES = ("gsig/charades-algorithms", "927794cd04c588f1e749e96f5c0e69d81a1576e0")
_PYVIDEORESEARCH = ("gsig/PyVideoResearch", "46307b1a03ce670696297e2154ddee6f4e6b0b8a")
_VIDEOLT = ("17Skye17/VideoLT", "1732d5cfd067cf5d40736bd9ef68c64e4080590e")
_MOVE = ("wjun0830/MOVE", "7928daae58d4197660a8d1ed70f8815836c280ac")
_YOUTUBE8M = ("google/youtube-8m", "e6f6bf682d20bb21904ea9c081c15e070809d914")
_MMACTION2 = ("open-mmlab/mmaction2", "4d6c93474730cad2f25e51109adcf96824efc7a3")
_MMPRETRAIN = ("open-mmlab/mmpretrain", "ee7f2e88501f61aa95c742dd5f429f039935ee90")
_CLIP_BENCHMARK = ("LAION-AI/CLIP_benchmark", "48de38c1689fa6d8b4dd53e3370c669c3bb18117")
_PYXCLIB = ("kunaldahiya/pyxclib", "5d130862df91a06d03b296ad264c89b037c33db7")
_BIRDSET = ("DBD-research-group/BirdSet", "86a0777cae76f26d278391e63a6ae4da1bdec772")


def _slowfast() -> Library:
    (get_map,) = _copies(
        "slowfast",
        *_SLOWFAST,
        "slowfast/utils/meters.py",
        ("get_map", (), "3b4087fcb81accc5a9f99b9b9ce82ab63849c1ed55e15c99b9be565837a4fe4d"),
    )
    get_map = _same(get_map, *_TIMESFORMER, "timesformer/utils/meters.py")
    return Library("slowfast", (dataclasses.replace(get_map, silenced=("logger", "print"), takes_columns="its own"),))


def _ast() -> Library:
    (stats,) = _copies(
        "ast",
        *_AST,
        "src/utilities/stats.py",
        ("calculate_stats", (), "6c5de8bb06f0b594488720da7d1137029c1220571bce1898281413fc0ab8c86b"),
    )
    stats = _same(stats, *_SSAST, "src/utilities/stats.py")
    # PSLA computes the accuracy once for each class, with the same result.
    digest = "1d41424331fd01e385189da5565398c68ee43cfdb5fb320ed7148de3fae86b9d"
    return Library("ast", (_same(stats, *_PSLA, "src/utilities/stats.py", digest),))


def _asl() -> Library:
    (mean,) = _copies(
        "asl",
        *_ASL,
        "src/helper_functions/helper_functions.py",
        ("mAP", ("average_precision",), "8902bb4614ce6a694eb38caa31fd46442858c5193b6e195d976fdbacf208e0c5"),
    )
    return Library("asl", (_same(mean, *_ML_DECODER, "src_files/helper_functions/helper_functions.py"),))


def _mlgcn() -> Library:
    known = (
        *_copies(
            "mlgcn",
            *_ML_GCN,
            "util.py",
            ("AveragePrecisionMeter", (), "cf94a6592cc5c67e6086ccf798422bb724b936fdfc3be6bfebe25f69dee600c1"),
        ),
        *_copies(
            "addgcn",
            *_ADD_GCN,
            "util.py",
            ("AveragePrecisionMeter", (), "a20eab60ba1cd8353e4487fb5c92897033ed3c93f2fa9303e16fa5c91e44076a"),
        ),
    )
    return Library("mlgcn", tuple(_meter(one, "value", "overall", "overall_topk") for one in known))


def _oltr() -> Library:
    functions = _copies(
        "oltr",
        *_CLASSIFIER_BALANCING,
        "utils.py",
        ("shot_acc", (), "a45d65bc372e2e6cc86b4bf34eb7ff6e6126352a91f9d5fb38622945b344b239"),
    )
    (oltr,) = _copies(
        "oltr",
        *_OLTR,
        "utils.py",
        ("shot_acc", (), "e6d67677a75434d988bd675441620ac60ec2d95e5c6587aa248a111d0aba0581"),
    )
    return Library("oltr", (*functions, dataclasses.replace(oltr, options=(("published", "OLTR"),))))


def _charades() -> Library:
    functions = (
        *_copies(
            "charades",
            *_CHARADES,
            "pytorch/utils/map.py",
            ("map", (), "d6963ebf3d6e3318a6cd67a5044ba64549e92626264deac4e63a5facb5c9f9d3"),
            ("charades_map", ("map",), "4619b6f487cfbb8862017cca6875107778d6a741cbe6bf45737ca4110c66cbea"),
        ),
        *_copies(
            "pyvideoresearch",
            *_PYVIDEORESEARCH,
            "metrics/utils.py",
            ("map", (), "fdb6e630fe5d278ce4eb49dbb67e89d35790d2841bdd23b73b0157ced01501be"),
            ("charades_map", ("map",), "d2cfaef93046079dc54736f3ebe43fea84f0dd3ac68404d852c78b7a0fffd6bc"),
        ),
    )
    return Library("charades", functions)


def _videolt() -> Library:
    (meter,) = _copies(
        "torchnet",
        *_VIDEOLT,
        "ops/apmeter.py",
        ("APMeter", (), "797a5924771bb6027e0167dd273e7878829c636b9ad5780b423f730fabbcc9c9"),
    )
    groups = _copies(
        "torchnet",
        *_VIDEOLT,
        "ops/mapmeter.py",
        ("mAPMeter", (), "d582e0646ad4b323b8a2e576fbf81f9976f7ac514cb42e2975729a7a0f2027d3"),
        ("LTMeter", ("mAPMeter",), "c1a8c16bd989738fed04fe3cf38ed2dc4a889312da7a4698d5f6c44c8fd0de6f"),
    )
    functions = []
    for known, path in ((meter, "ops/apmeter.py"), *((one, "ops/mapmeter.py") for one in groups)):
        for folder in ("VideoLT", "Imbalanced-MiniKinetics200"):
            known = _same(known, *_MOVE, f"{folder}/{path}")
        functions.append(_meter(known, *(("value",) if known.name == "APMeter" else ("value", "avg"))))
    return Library("videolt", tuple(functions))


def _youtube8m() -> Library:
    rest = ("top_k_by_class", "flatten", "top_k_triplets")
    hits = ("calculate_hit_at_one", "calculate_precision_at_equal_recall_rate")
    calculators = (
        *_copies(
            "youtube8m",
            *_YOUTUBE8M,
            "average_precision_calculator.py",
            ("AveragePrecisionCalculator", (), "c1bbc30ab21a159eec19dc3684bd9a6dd675cca34eb1d368f416be6765adfd97"),
        ),
        *_copies(
            "youtube8m",
            *_YOUTUBE8M,
            "mean_average_precision_calculator.py",
            ("MeanAveragePrecisionCalculator", (), "1d26e0aad9ebabbd5b94dc729326cc70972a648e6b66f65f0b9fc9f9be627498"),
        ),
    )
    functions = _copies(
        "youtube8m",
        *_YOUTUBE8M,
        "eval_util.py",
        (hits[0], (), "a06cbe4ac66f73d2d6d8e1f59289d03c1de531616bf3fa89e441b1ec1230600a"),
        (hits[1], (), "8d51c3560034a6738863bdf4b58fc222a057c5757cb8bd374a585025ac5219ce"),
        ("calculate_gap", rest, "632df9cf483c8a9b7f351d8ecbd789434c67b3be0c1ee96fd586d1c8964237fa"),
        ("EvaluationMetrics", (*hits, *rest), "cf9728c3235de9a36dc5ae05678998cb3d05f38067d4fa0e3a5bf3b227e992bf"),
    )
    calculators = tuple(
        dataclasses.replace(one, feeds=("accumulate",), results=("peek_ap_at_n", "peek_map_at_n"))
        for one in calculators
    )
    metrics = dataclasses.replace(functions[-1], feeds=("accumulate",), results=("get",), timed=False)
    return Library("youtube8m", (*calculators, *functions[:-1], metrics))


def _mmaction2() -> Library:
    functions = _copies(
        "mmaction2",
        *_MMACTION2,
        "mmaction/evaluation/functional/accuracy.py",
        (
            "mean_average_precision",
            ("binary_precision_recall_curve",),
            "112e2e380253a7b5716ce8c6986cbb3025792faff762e8f68d6c6012e2f9296c",
        ),
        (
            "mmit_mean_average_precision",
            ("binary_precision_recall_curve",),
            "72a391dcacaac7f01b5445e88efe88aa2c542e5dbe4092392e3061bea883ac08",
        ),
        ("top_k_accuracy", (), "9100351e8bfc4cee6a116827be514c9636001c782f5ae956612b5f8664bf911f"),
        (
            "mean_class_accuracy",
            ("confusion_matrix",),
            "457eb98ac04eb7b0926878e9bdcc143c184a6e5c14c5eebfd841b262b0c2e1e5",
        ),
    )
    return Library("mmaction2", functions)


def _mmpretrain() -> Library:
    functions = _copies(
        "mmpretrain",
        *_MMPRETRAIN,
        "mmpretrain/evaluation/metrics/multi_label.py",
        (
            "AveragePrecision",
            ("_average_precision",),
            "a519707260c837a5fcd7782ba609a459075e03fe8825abc58aa16d9443aeef9f",
        ),
        ("MultiLabelMetric", (), "a9c242fb8baefba45fd11f46e868a2409e8172b9ac9af062ee918f05bac11d2e"),
    )
    functions = tuple(
        dataclasses.replace(one, feeds=("process",), results=("compute_metrics",), timed=False) for one in functions
    )
    return Library("mmpretrain", functions, registries=("mmpretrain.registry:METRICS._module_dict",))


def _clip_benchmark() -> Library:
    functions = _copies(
        "clip_benchmark",
        *_CLIP_BENCHMARK,
        "clip_benchmark/metrics/zeroshot_classification.py",
        ("average_precision_per_class", (), "8e11cc484ad0781e4a6703613e429de1fad6141dd054f9cb9fce073223dac412"),
    )
    return Library("clip_benchmark", functions)


def _pyxclib() -> Library:
    rest = (
        *("compatible_shapes", "_get_topk", "_get_topk_sparse", "_get_topk_array", "_get_topk_dict"),
        *("_setup_metric", "_eval_flags"),
    )
    functions = _copies(
        "pyxclib",
        *_PYXCLIB,
        "xclib/evaluation/xc_metrics.py",
        ("precision", ("_precision", *rest), "cf1db8e0489b0cbcf9ad4cd5e2dbcf0fcd3527b7231698ec9464895f0c908ea8"),
        ("psprecision", ("_precision", *rest), "119acf0febd48c430136cb75f96b1f2284cd70e8708c7c5ac9f3592ca35139eb"),
        ("ndcg", ("_ndcg", *rest), "dced148b734e183c7e306c28dcb93a34b568fc8265027afe182c76bfce2f93c2"),
        ("psndcg", ("_ndcg", *rest), "0ccdb90df37e4e6eb298dd6a19b294c3f508556a5c2353e1125b82789b436b0d"),
        ("recall", ("_recall", *rest), "361d59b9abb6bc4cbf5e5652cac3ac459d7601f2df3370cdea7bdbb4a83ba169"),
        ("psrecall", ("_recall", *rest), "6b754148ec3baa3dfce003846f810577eea40ef083e1dfc62234179d6cd8666f"),
    )
    return Library("pyxclib", functions)


def _birdset() -> Library:
    functions = _copies(
        "birdset",
        *_BIRDSET,
        "birdset/modules/metrics/multilabel.py",
        ("cmAP", (), "66d488fb4d0a85070cc10aeaff4544bc0588ab39c4e1b5708cfde9cd48f84281"),
        ("cmAP5", (), "5e658327c36fd4b1f1defc5da569b028b85f1f0d5e6bb2bf0f726ca85f50bce6"),
        ("mAP", (), "7c77c55128ad74fcd55472314b5a916f8f827ea5376ff7ec4d95993f4071f9d5"),
        ("pcmAP", (), "991624d326be90764f105101d34b8aa69c4bd873ee1e5d79e76485b8a7e25505"),
    )
    return Library(
        "birdset", tuple(dataclasses.replace(one, feeds=("update",), results=("compute",)) for one in functions)
    )


LIBRARIES: tuple[Library, ...] = (
    *(_SKLEARN, _TORCHMETRICS, _TORCHEVAL),
    *(_slowfast(), _ast(), _asl(), _mlgcn(), _oltr(), _charades(), _videolt(), _youtube8m()),
    *(_mmaction2(), _mmpretrain(), _clip_benchmark(), _pyxclib(), _birdset()),
)


def libraries_of(names: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the names of libraries that ``only`` selects; all for None.

    Example:
        >>> libraries_of("sklearn,torcheval")
        ('sklearn', 'torcheval')
    """
    known = tuple(library.name for library in LIBRARIES)
    if names is None:
        return known
    words = [word.strip() for text in ([names] if isinstance(names, str) else names) for word in text.split(",")]
    unknown = sorted(set(words) - set(known))
    if unknown or not words:
        hint = nearest_hint(unknown[0], known) if unknown else ""
        raise ValueError(f"only: expected some of {', '.join(known)}, got {', '.join(unknown) or 'none'}{hint}")
    return tuple(name for name in known if name in words)
