"""Values that FSDP spreads: averages, noise and what a checkpoint holds are those of whole tensors."""

import pytest
import torch
from torch import nn

from training.gradients import MovingAverage, add_noise
from training.spread import full, gathered, in_order, local, spread_as


@pytest.fixture
def sharded():
    """Makes a network FSDP's, in a group of this one process: what mixes whole and spread tensors fails there too."""
    import torch.distributed as processes
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    processes.init_process_group("gloo", store=processes.HashStore(), rank=0, world_size=1)
    mesh = init_device_mesh("cpu", (1,))
    yield lambda network: fully_shard(network, mesh=mesh)
    processes.destroy_process_group()


def two(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1))


def test_plain_tensors_pass_unchanged():
    value = torch.ones(3)
    assert all(one is value for one in (full(value), *local([value]), spread_as(value, torch.zeros(3))))
    with gathered(two()):
        pass


def test_channels_last_weights_can_be_spread_once_they_are_in_order(sharded):
    last = two().to(memory_format=torch.channels_last)
    with pytest.raises(NotImplementedError, match="non-contiguous"):
        sharded(last)
    ordered = two().to(memory_format=torch.channels_last)
    assert hasattr(next(sharded(in_order(ordered)).parameters()), "full_tensor")


def test_the_average_and_the_noise_of_spread_values_are_those_of_whole_ones(sharded):
    results = []
    for network in (two(), sharded(two())):
        values = list(network.parameters())
        average = MovingAverage(values, 0.9)
        given = torch.ones(2, 3, 6, 6)
        network(given).square().sum().backward()
        gradients = [value.grad for value in values]
        add_noise(gradients, 0.5, 7)
        with torch.no_grad():
            for value, gradient in zip(local(values), local(gradients), strict=True):
                value.sub_(gradient)
        average.update(values)
        results.append([full(one) for one in (*gradients, *average.shadows)])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_a_saved_average_goes_back_into_spread_values(sharded):
    network = sharded(two())
    average = MovingAverage(list(network.parameters()), 0.9)
    saved = [torch.full(full(shadow).shape, 3.0) for shadow in average.shadows]
    for shadow, value in zip(average.shadows, saved, strict=True):
        shadow.copy_(spread_as(value, shadow))
    assert all(torch.equal(full(shadow), value) for shadow, value in zip(average.shadows, saved, strict=True))


def test_a_pass_that_begins_below_the_root_finds_all_values(sharded):
    network, plain = sharded(two()), two()
    given = torch.ones(1, 3, 6, 6)
    with gathered(network), torch.no_grad():
        made = network[1](network[0](given))
    assert torch.equal(made, plain(given))
    assert hasattr(next(network.parameters()), "full_tensor")
