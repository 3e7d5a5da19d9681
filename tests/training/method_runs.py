"""Makes tiny bases, and trainings of a method on them, in memory's own pictures."""

import pytest
from tiny import EndlessFeed, accelerator, run, tiny

from training.card import Origin, facts_of
from training.checkpoints import checkpoints
from training.config import parse_config
from training.keeper import Rules, StageKeeper
from training.loop import Parts, Trainer
from training.methods.base import Given, base_facts, load_base, on_base, require_same_base
from training.methods.choosing import method_of
from training.recorder import Recorder
from training.sampling.model import Running, load_model
from training.signals import Interrupts

METHOD = """
name: tiny {kind}
method: {{kind: {kind}, base: '{base}'}}
data: {{batch: 8, workers: 0, buckets: {{resolution: 16, max_aspect: 1}}}}
optimiser: {{rate: 0.001, warmup: 2}}
loop: {{steps: 4, device: cpu, threads: 1}}
logs: {{every: 1, histograms: 3, tensorboard: false}}
checkpoints: {{every: 2}}
"""


def made_base(folder, *overrides):
    """The newest checkpoint of a tiny training from nothing."""
    run(tiny("loop.steps=2", *overrides), folder)
    return checkpoints(folder)[-1][1]


def loaded(checkpoint):
    """The model of a checkpoint."""
    return load_model(checkpoint, Running(device="cpu"))


def method_config(kind, base, *overrides):
    """The configuration of a method on a base, with the base's sections put in."""
    return on_base(parse_config(METHOD.format(kind=kind, base=base), f"{kind}.yaml", list(overrides)))


def method_trainer(config, folder, feed=None):
    """A trainer of the configuration's method; the method is in `.method`."""
    acc = accelerator()
    base = load_base(config, "cpu")
    require_same_base(folder, base)
    method = method_of(Given(config, base, folder, True, lambda: None, lambda text: None))
    origin = Origin("d" * 64, "tiny data", 9, 8, {}, [], None)

    def facts(progress, datasets, metrics):
        training = {"stage": method.name, "step": progress.step, "steps": method.steps, "samples": progress.samples}
        training |= {"parameters": method.values(), "datasets": datasets, "processes": 1, "device": "CPU"}
        training |= {"precision": "fp32", "seconds": 1.0, "rollbacks": progress.rollbacks}
        training |= {"energy": {"kwh": 0.0, "co2_grams": 0.0, "method": "none"}}
        return facts_of(
            config, origin, {**training, "base": base_facts(base.facts), "method": method.facts()}, metrics
        )

    rules = Rules(config.checkpoints.keep, facts, lambda path, body, exposure: None)
    keeper = StageKeeper(folder, folder, method, rules, acc)
    recorder = Recorder(folder, method.name, config.logs, config.name)
    parts = Parts(config, acc, feed or EndlessFeed(), keeper, recorder, lambda: 0.0, lambda text: None)
    found = Trainer(method, parts)
    found.method, found.base = method, base
    return found


def trained_method(kind, base, folder, *overrides, feed=None):
    """The newest checkpoint of a whole tiny training of a method."""
    method_trainer(method_config(kind, base, *overrides), folder, feed).run(Interrupts())
    return checkpoints(folder)[-1][1]


class Stopping(EndlessFeed):
    """Ends the training before its fourth batch, as a killed process would."""

    def batch(self, number):
        if number >= 3:
            raise ZeroDivisionError
        return super().batch(number)


def whole_and_resumed(config, folder):
    """Two folders with the same training of four steps: one that ran through, one that was killed and resumed."""
    whole, parts = folder / "whole", folder / "parts"
    method_trainer(config, whole).run(Interrupts())
    with pytest.raises(ZeroDivisionError):
        method_trainer(config, parts, Stopping()).run(Interrupts())
    assert [step for step, _ in checkpoints(parts)] == [0, 2], "killed after its second checkpoint"
    method_trainer(config, parts).run(Interrupts())
    return whole, parts
