"""Samplers: what is drawn, how often, and that a draw depends on its seed, epoch and stream alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vltr_eval._base.long_tail import VIDEOLT_TRAIN_TAIL, tail_counts
from vltr_train.data.label_lists import LabelList
from vltr_train.samplers import ClassSampler, InstanceSampler

VIDEOLT_COUNTS = tail_counts(VIDEOLT_TRAIN_TAIL)


def long_tailed(num_rows=3_000, counts=(1_500, 800, 0, 400, 300, 100, 20)):
    """Rows with a class each, and every tenth with class 0 too."""
    rng = np.random.default_rng(0)
    first = rng.choice(len(counts), num_rows, p=np.array(counts) / sum(counts))
    labels = [sorted({int(c), 0} if row % 10 == 0 else {int(c)}) for row, c in enumerate(first)]
    return LabelList.from_lists([f"v{row}" for row in range(num_rows)], labels, len(counts))


LABELS = long_tailed()


def test_instance_sampler_visits_every_row_once():
    draw = InstanceSampler().draw(LABELS, seed=0, epoch=0)
    assert draw.classes is None
    assert draw.rows.dtype == np.int64
    assert (draw.rows != np.arange(len(LABELS))).any()
    np.testing.assert_array_equal(np.sort(draw.rows), np.arange(len(LABELS)))


def test_instance_sampler_keeps_to_its_rows():
    draw = InstanceSampler(rows=[5, 900, 2]).draw(LABELS, seed=0, epoch=0)
    assert sorted(draw.rows.tolist()) == [2, 5, 900]
    assert len(draw) == 3


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 1.0])
def test_class_sampler_draws_classes_by_their_law_and_rows_of_them(power):
    sampler, counts = ClassSampler(power), LABELS.counts()
    draw = sampler.draw(LABELS, seed=1, epoch=0)
    assert len(draw.rows) == len(draw.classes) == len(LABELS)
    assert draw.rows.dtype == draw.classes.dtype == np.int64
    assert LABELS.multi_hot()[draw.rows, draw.classes].all()
    expected = np.where(counts > 0, np.where(counts > 0, counts, 1.0) ** power, 0)
    np.testing.assert_allclose(sampler.probabilities_of(counts), expected / expected.sum())
    drawn = np.bincount(draw.classes, minlength=len(counts)) / len(draw)
    np.testing.assert_allclose(drawn, expected / expected.sum(), atol=0.04)
    assert drawn[2] == 0, "a class without rows"


def test_class_sampler_draws_rows_of_a_class_alike():
    labels = LabelList.from_lists(["a", "b", "c", *map(str, range(997))], [[0], [0, 1], [0], *[[1]] * 997], 2)
    draw = ClassSampler(probabilities=[1, 0]).draw(labels, seed=0, epoch=0)
    np.testing.assert_allclose(np.bincount(draw.rows, minlength=3)[:3] / len(draw), 1 / 3, atol=0.06)


def test_given_probabilities_are_of_any_unit_and_skip_absent_classes():
    p = ClassSampler(probabilities=[2, 0, 9, 6, 0, 0, 0]).probabilities_of(LABELS.counts())
    np.testing.assert_allclose(p, [0.25, 0, 0, 0.75, 0, 0, 0])


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (ClassSampler(200.0), [1, 0, 0]),
        (ClassSampler(-400.0), [0, 0, 1]),
        (ClassSampler(105.0), [1, 0, 1e-210]),  # 1e315 and 1e105
        (ClassSampler(-200.0), [1e-400, 0, 1]),
        (ClassSampler(probabilities=[1e308, 1e308, 1e308]), [0.5, 0, 0.5]),
    ],
)
def test_chances_outside_the_range_of_floats_keep_their_law(sampler, expected):
    found = sampler.probabilities_of([1_000, 0, 10])
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    labels = np.repeat([0, 2], [1_000, 10])
    assert len(sampler.draw(labels, 0, 0)) == 1_010


def test_square_root_law_of_videolt():
    p = ClassSampler(0.5).probabilities_of(VIDEOLT_COUNTS)
    # The published counts give 0.00050436 and 0.00332476; those between the end points are interpolated here.
    np.testing.assert_allclose([p.min(), p.max()], [0.00050436, 0.00332476], rtol=1e-3)


@pytest.mark.parametrize(
    ("power", "shares"), [(1.0, (0.172, 0.702, 0.126)), (0.5, (0.094, 0.686, 0.220)), (0.0, (0.047, 0.615, 0.339))]
)
def test_shares_of_head_medium_and_tail_on_videolt(power, shares):
    p = ClassSampler(power).probabilities_of(VIDEOLT_COUNTS)
    np.testing.assert_allclose([p[:47].sum(), p[47:664].sum(), p[664:].sum()], shares, atol=2e-3)


@pytest.mark.parametrize("sampler", [InstanceSampler(), InstanceSampler(rows=np.arange(50)), ClassSampler()])
def test_draw_depends_on_seed_epoch_and_stream_alone(sampler):
    draws = [
        sampler.draw(LABELS, **key).rows
        for key in (
            {"seed": 1, "epoch": 2},
            {"seed": 1, "epoch": 2, "stream": 1},
            {"seed": 2, "epoch": 1},
            {"seed": 1, "epoch": 3},
        )
    ]
    np.testing.assert_array_equal(draws[0], sampler.draw(LABELS, 1, 2, stream=0).rows)
    for i, first in enumerate(draws):
        assert all((first != other).any() for other in draws[i + 1 :])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassSampler(power=float("nan")), "power: expected a finite number, got nan"),
        (
            lambda: ClassSampler(probabilities=[1, 2]).draw(LABELS, 0, 0),
            r"expected shape \(7,\), one a class, got \(2,\)",
        ),
        (lambda: ClassSampler(probabilities=[1] * 6 + [-1]).draw(LABELS, 0, 0), "from 0 up, got -1.0 for class 6"),
        (lambda: ClassSampler(probabilities=[0, 0, 1, 0, 0, 0, 0]).draw(LABELS, 0, 0), "can be drawn, got none"),
        (lambda: InstanceSampler(rows=[0, 3_000]).draw(LABELS, 0, 0), "rows: expected 0 to 2999, got 0 to 3000"),
        (lambda: InstanceSampler(rows=[0.5]).draw(LABELS, 0, 0), "rows: expected a list of integers, got float64"),
        (lambda: ClassSampler(power=True), "power: expected a finite number, got True"),
        (
            lambda: ClassSampler().probabilities_of([[1, 2]]),
            r"shape \(C,\), one a class, got \(1, 2\)",
        ),
        (lambda: ClassSampler().probabilities_of([1, -2]), "counts: expected numbers from 0 up, got -2.0 for class 1"),
        (lambda: ClassSampler().probabilities_of(["a"]), "counts: expected numbers, got <U1"),
        (lambda: ClassSampler(power="high"), "power: expected a finite number, got 'high'"),
        (lambda: ClassSampler(probabilities=["a"]).draw(LABELS, 0, 0), "probabilities: expected numbers, got <U1"),
        (lambda: ClassSampler().draw(LABELS, -1, 0), "seed: expected an integer from 0 up, got -1"),
        (lambda: ClassSampler().draw(LABELS, 0, 0.5), "epoch: expected an integer from 0 up, got 0.5"),
        (lambda: InstanceSampler().draw(LABELS, 0, 0, True), "stream: expected an integer from 0 up, got True"),
        (lambda: ClassSampler().draw([[0], [1, 2]], 0, 0), "got a ragged list; pass LabelList.from_lists"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def rows_with_by_hand(labels, classes):
    bounds = labels.offsets.tolist()
    return [row for row in range(len(labels)) if any(classes[c] for c in labels.classes[bounds[row] : bounds[row + 1]])]


@pytest.mark.parametrize("chosen", [[6], [0, 5], [2], [], range(7)])
def test_rows_with_a_class_or_more(chosen):
    labels = LabelList.from_lists(
        [*LABELS.ids, "none", "both"], [*(LABELS.classes[s:e] for s, e in bounds_of(LABELS)), [], [5, 6]], 7
    )
    classes = np.isin(np.arange(7), list(chosen))
    found = labels.rows_with(classes)
    assert found.dtype == np.int64
    assert found.tolist() == rows_with_by_hand(labels, classes)
    assert len(LABELS) not in found  # the one without labels
    assert (len(LABELS) + 1 in found) == bool({5, 6} & set(chosen))


@pytest.mark.parametrize("classes", [[3, 5], np.ones(6, bool), np.ones((1, 7), bool)])
def test_classes_that_are_no_mask_are_refused(classes):
    with pytest.raises(ValueError, match=r"^classes: expected bool of shape \(7,\), got (int64|bool) of shape \("):
        InstanceSampler(classes=classes).draw(LABELS, 0, 0)


def bounds_of(labels):
    return zip(labels.offsets.tolist(), labels.offsets.tolist()[1:], strict=False)


def test_instance_sampler_keeps_to_the_rows_of_its_classes():
    classes = np.array([False, False, False, True, False, False, True])
    expected = rows_with_by_hand(LABELS, classes)
    sampler = InstanceSampler(classes=classes)
    draw = sampler.draw(LABELS, seed=0, epoch=0)
    assert draw.classes is None
    assert draw.rows.tolist() != expected
    assert sorted(draw.rows.tolist()) == expected
    assert (draw.rows != sampler.draw(LABELS, seed=0, epoch=1).rows).any()
    np.testing.assert_array_equal(draw.rows, InstanceSampler(classes=classes.tolist()).draw(LABELS, 0, 0).rows)
    few = [*expected[:4], *(row for row in range(20) if row not in expected)]
    both = InstanceSampler(rows=few, classes=classes).draw(LABELS, seed=0, epoch=0)
    assert sorted(both.rows.tolist()) == expected[:4]
    assert len(InstanceSampler(classes=[False] * 7).draw(LABELS, seed=0, epoch=0)) == 0


@pytest.mark.parametrize(
    "sampler", [InstanceSampler(), InstanceSampler(rows=[2, 0]), ClassSampler(), ClassSampler(0.5)]
)
def test_plain_arrays_draw_what_lists_draw(sampler):
    multi_hot = (np.random.default_rng(3).random((40, 6)) < 0.3).astype(np.float32)
    multi_hot[:6] += np.eye(6, dtype=np.float32)
    multi_hot = multi_hot.clip(0, 1)
    lists = LabelList.from_lists(map(str, range(40)), [np.flatnonzero(row).tolist() for row in multi_hot], 6)
    wanted = sampler.draw(lists, 7, 2, 1)
    for labels in (multi_hot, torch.from_numpy(multi_hot), multi_hot.astype(bool)):
        found = sampler.draw(labels, 7, 2, 1)
        np.testing.assert_array_equal(found.rows, wanted.rows)
        np.testing.assert_array_equal(found.classes, wanted.classes)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("sampler", [InstanceSampler(), InstanceSampler(rows=[5, 3, 1]), ClassSampler()])
def test_a_data_loader_of_torch_visits_the_drawn_rows(sampler, workers):
    labels = np.eye(3, dtype=np.uint8)[[0, 0, 0, 0, 1, 1, 2, 0]]
    data = torch.utils.data.TensorDataset(torch.arange(len(labels)), torch.from_numpy(labels))
    for epoch in range(2):
        draw = sampler.draw(labels, seed=3, epoch=epoch)
        loader = torch.utils.data.DataLoader(data, batch_size=3, sampler=draw.rows, num_workers=workers)
        assert len(loader) == -(-len(draw) // 3)
        batches = list(loader)
        assert torch.cat([rows for rows, _ in batches]).tolist() == draw.rows.tolist()
        found = torch.cat([targets for _, targets in batches]).numpy()
        np.testing.assert_array_equal(found, labels[draw.rows])
        if draw.classes is not None:
            assert found[np.arange(len(found)), draw.classes].all()


def test_lists_draw_what_arrays_draw():
    labels = [[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1]]
    for sampler in (InstanceSampler(), ClassSampler(0.5), ClassSampler(probabilities=[1, 2, 1])):
        for form in (labels, [0, 2, 1, 1]):
            listed, array = sampler.draw(form, 1, 0), sampler.draw(np.array(form), 1, 0)
            np.testing.assert_array_equal(listed.rows, array.rows)
            np.testing.assert_array_equal(listed.classes, array.classes)


def test_classes_of_rows_are_labels_too():
    classes = np.array([3, 0, 1, 1, 2, 0])
    one_hot = np.eye(4)[classes]
    for sampler in (InstanceSampler(), ClassSampler(), ClassSampler(1.0)):
        np.testing.assert_array_equal(sampler.draw(classes, 0, 0).rows, sampler.draw(one_hot, 0, 0).rows)


@pytest.mark.parametrize("labels", [np.array([0.5, 1.0]), np.array([-1, 2]), np.full((2, 2), 2), np.zeros((2, 2, 2))])
def test_labels_of_another_form_are_refused(labels):
    with pytest.raises(ValueError, match="labels: expected the class of each row"):
        ClassSampler().draw(labels, 0, 0)
