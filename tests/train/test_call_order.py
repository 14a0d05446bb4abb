"""A loop that leaves out a call which a method needs gets one sentence, and no silently wrong training."""

from __future__ import annotations

import copy

import pytest
import torch
from small_methods import TASK, B, begin, make, make_batch, make_batches

from vltr_train import losses
from vltr_train.call_order import CALLS
from vltr_train.method import Method, TrainConfig
from vltr_train.methods import all_methods

NEEDING = {name: [call for call in CALLS if getattr(kind, call) is not getattr(Method, call)]
           for name, kind in all_methods().items()}  # fmt: skip


def test_some_methods_need_each_call():
    for call in CALLS:
        assert any(call in needed for needed in NEEDING.values())
    assert NEEDING["bce"] == []


@pytest.mark.parametrize(("name", "call"), [(name, call) for name, calls in NEEDING.items() for call in calls[:1]])
def test_a_step_before_the_needed_call_is_an_error(name, call):
    method = make(name)
    batches = make_batches(method, 0)
    with pytest.raises(RuntimeError, match=rf"^{type(method).__name__}: expected a call of {call}\("):
        method(*batches)
    method.eval()
    assert method.predict(batches[0].features).shape == (B, TASK.num_classes)


@pytest.mark.parametrize("name", all_methods())
def test_a_step_after_the_calls_is_fine(name):
    method = begin(make(name), stage=0)
    method(*make_batches(method, 0)).backward()
    twin = copy.deepcopy(method)
    twin(*make_batches(twin, 0)).backward()


def test_steps_after_the_end_of_an_epoch_need_the_next_beginning():
    method = begin(make("framestack"))
    method(make_batch())
    method.end_epoch()
    with pytest.raises(RuntimeError, match=r"FrameStack: expected a call of begin_epoch"):
        method(make_batch())


def test_an_epoch_that_does_not_end_is_an_error_at_the_next():
    method = begin(make("framestack"))
    method.begin_epoch(1, B)  # no step was taken
    method(make_batch())
    with pytest.raises(RuntimeError, match=r"FrameStack: expected a call of end_epoch\(\) after the steps"):
        method.begin_epoch(2, B)


def test_a_class_that_changes_one_end_of_an_epoch_needs_both():
    class EndOnly(Method):
        def end_epoch(self):
            self.ended = True

        def forward(self, batch):
            return losses.bce(self.model(batch.features), batch.targets)

    method = EndOnly(TrainConfig(), TASK)
    with pytest.raises(RuntimeError, match=r"EndOnly: expected a call of begin_epoch"):
        method(make_batch())
    method.begin_epoch(0, B)
    method(make_batch())
    with pytest.raises(RuntimeError, match=r"EndOnly: expected a call of end_epoch"):
        method.begin_epoch(1, B)
    method.end_epoch()
    method.begin_epoch(1, B)
    method(make_batch())

    ldam = begin(make("ldam_drw"))  # it has a beginning alone
    ldam(make_batch())
    with pytest.raises(RuntimeError, match=r"LDAM\w*: expected a call of end_epoch"):
        ldam.begin_epoch(2, B)


def test_a_stage_ends_the_epochs_of_the_one_before():
    method = begin(make("framestack"))
    (stage,) = method.stages()
    method.begin_stage(stage)  # no step was taken
    with pytest.raises(RuntimeError, match=r"FrameStack: expected a call of begin_epoch"):
        method(make_batch())
    method.begin_epoch(0, B)
    method(make_batch())
    with pytest.raises(RuntimeError, match=r"FrameStack: expected a call of end_epoch"):
        method.begin_stage(stage)


def test_a_loss_that_is_no_scalar_is_named():
    class Rows(Method):
        def forward(self, batch):
            return self.model(batch.features)

    with pytest.raises(ValueError, match=r"Rows.forward: expected a scalar loss, .* got shape \(8, 10\)"):
        Rows(TrainConfig(), TASK)(make_batch())


def test_a_loss_without_a_gradient_is_named():
    class Detached(Method):
        def forward(self, batch):
            return losses.bce(self.model(batch.features), batch.targets).detach()

    method = Detached(TrainConfig(), TASK)
    with pytest.raises(ValueError, match=r"^Detached.forward: expected a loss with a gradient, got one without; "):
        method(make_batch())
    with torch.no_grad():
        method(make_batch())


def test_a_configuration_of_another_method_is_refused():
    kind = all_methods()["framestack"]
    with pytest.raises(TypeError, match=r"FrameStack\.Config, a FrameStackConfig, got TrainConfig$"):
        kind(TrainConfig(), TASK)


def test_a_compiled_method_has_the_same_checks():
    method = make("move", aggregator="psa")
    step = torch.compile(method, backend="eager")
    with pytest.raises(RuntimeError, match=r"Move: expected a call of begin_epoch"):
        step(make_batch())
