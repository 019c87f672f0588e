"""Networks and files go from pytorch-tabnet to ours and back without changing what they compute."""

import io
import json
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_tabnet import tab_network

from fraudlab.errors import UserError
from fraudlab.models.tabnet import TabNet
from fraudlab.models.tabnet.interop import from_reference, to_reference

ROWS = 200
# Columns 1 and 4 of 7 are categorical, of different widths.
CATEGORICAL = {"cat_idxs": [1, 4], "cat_dims": [5, 3], "cat_emb_dim": [2, 3]}
NUMERIC_COLUMNS = [0, 2, 3, 5, 6]
CASES: list[dict[str, Any]] = [
    {**CATEGORICAL},
    {**CATEGORICAL, "mask_type": "entmax", "n_shared": 0, "n_steps": 1},
    {**CATEGORICAL, "grouped_features": [[5, 1], [4, 6, 0]], "n_independent": 0},
    {"grouped_features": [[2, 6]], "mask_type": "entmax", "lambda_sparse": 0.25},
    {"n_d": 3, "n_a": 5, "gamma": 2.0, "epsilon": 1e-9, "momentum": 0.4},
]


def table() -> np.ndarray:
    generator = np.random.default_rng(0)
    table = generator.normal(size=(ROWS, 7)).astype(np.float32)
    table[:, 1], table[:, 4] = generator.integers(0, 5, ROWS), generator.integers(0, 3, ROWS)
    return table


def tensors(table: np.ndarray, categorical: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    numeric = [column for column in range(table.shape[1]) if column not in categorical]
    return torch.from_numpy(table[:, categorical]).long(), torch.from_numpy(table[:, numeric])


def classifier(**settings: Any) -> Any:
    pytest.importorskip("pandas", reason="pytorch-tabnet's classifier imports pandas, which it does not require")
    from pytorch_tabnet.tab_model import TabNetClassifier

    return TabNetClassifier(device_name="cpu", verbose=0, **settings)


def fitted(classes: int = 2, **settings: Any) -> Any:
    model = classifier(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without a validation set
        model.fit(
            table(), np.arange(ROWS) % classes, max_epochs=2, batch_size=64, virtual_batch_size=16, drop_last=False
        )
    return model


def probabilities(network: TabNet, categorical: torch.Tensor, numeric: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return network(categorical, numeric).logits.softmax(dim=1).numpy()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A file like the classifier's, as the tests with a classifier show."""
    return TabNet([5, 3], 5, embedding_dim=[2, 3]).to_pytorch_tabnet(tmp_path / "saved")


@pytest.mark.parametrize("settings", CASES)
def test_a_saved_classifier_becomes_ours(settings: dict[str, Any], tmp_path: Path) -> None:
    model = fitted(**settings)
    path = model.save_model(str(tmp_path / "model"))
    network = TabNet.from_pytorch_tabnet(path)
    assert not network.training
    assert network.sparsity == settings.get("lambda_sparse", 1e-3)
    assert network.encoder.virtual_batch_size == 128
    inputs = tensors(table(), settings.get("cat_idxs", []))
    np.testing.assert_allclose(probabilities(network, *inputs), model.predict_proba(table()), atol=1e-5, rtol=0)
    penalty = model.network(torch.from_numpy(table()))[1]
    torch.testing.assert_close(network(*inputs).penalty, -network.sparsity * penalty, atol=1e-5, rtol=0)
    without = TabNet.from_pytorch_tabnet(path.removesuffix(".zip"))
    assert all(map(torch.equal, without.state_dict().values(), network.state_dict().values()))


def test_categorical_columns_out_of_order(tmp_path: Path) -> None:
    """pytorch-tabnet sorts cardinalities and widths by column, but not cat_idxs: its own load_model mixes them up."""
    model = fitted(cat_idxs=[4, 1], cat_dims=[3, 5], cat_emb_dim=[3, 2])
    network = TabNet.from_pytorch_tabnet(model.save_model(str(tmp_path / "model")))
    assert network.cardinalities == [5, 3]
    ours = probabilities(network, *tensors(table(), [1, 4]))
    np.testing.assert_allclose(ours, model.predict_proba(table()), atol=1e-5, rtol=0)
    again = from_reference(model.network.eval())
    np.testing.assert_array_equal(probabilities(again, *tensors(table(), [1, 4])), ours)


@pytest.mark.parametrize("mask_type", ["sparsemax", "entmax"])
@pytest.mark.parametrize("feature_groups", [None, [[2, 0], [6, 3, 1]], [[1]]])
@pytest.mark.parametrize("cardinalities", [[], [4, 7]])
def test_ours_becomes_a_classifier(
    mask_type: str, feature_groups: list[list[int]] | None, cardinalities: list[int], tmp_path: Path
) -> None:
    network = TabNet(
        cardinalities, 7 - len(cardinalities), 3, embedding_dim=[2, 5][: len(cardinalities)], n_d=4, n_a=3, n_steps=2,
        gamma=1.6, n_independent=1, n_shared=3, epsilon=1e-10, virtual_batch_size=16, momentum=0.2, mask_type=mask_type,
        feature_groups=feature_groups, sparsity=0.25,
    )  # fmt: skip
    x = table()
    for column, cardinality in enumerate(cardinalities):
        x[:, column] = np.arange(ROWS) % cardinality
    inputs = tensors(x, list(range(len(cardinalities))))
    network(*inputs)  # moves the running statistics
    state = torch.get_rng_state()
    path = network.to_pytorch_tabnet(tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert path == tmp_path / "model.zip"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.zip"]
    model = classifier()
    model.load_model(path)
    ours = probabilities(network.eval(), *inputs)
    np.testing.assert_allclose(model.predict_proba(x), ours, atol=1e-5, rtol=0)
    np.testing.assert_array_equal(model.predict(x), ours.argmax(axis=1))
    assert model.preds_mapper == {"0": 0, "1": 1, "2": 2}
    assert (model.lambda_sparse, model.momentum, model.gamma) == (0.25, 0.2, 1.6)
    again = probabilities(TabNet.from_pytorch_tabnet(path), *inputs)
    np.testing.assert_allclose(again, ours, atol=1e-6, rtol=0)


def test_the_classes_are_named_as_after_a_fit(tmp_path: Path) -> None:
    network = TabNet([], 7, 3)
    model = classifier()
    model.load_model(network.to_pytorch_tabnet(tmp_path / "model.zip"))
    assert model.preds_mapper == fitted(classes=3).preds_mapper


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("settings", [{}, {"n_shared": 0}, {"n_independent": 0, "mask_type": "entmax"}])
def test_there_and_back_in_float64(settings: dict[str, Any], training: bool) -> None:
    network = TabNet(
        [4, 7], 5, embedding_dim=[1, 3], feature_groups=[[0, 3], [5, 2]], virtual_batch_size=16, **settings
    )
    network.double().train(training)
    reference = to_reference(network)
    again = from_reference(reference, network.sparsity)
    for name, ours in network.named_parameters():
        # Of a narrower column's rows in the table the rest is never read.
        if name != "embedding.weight":
            assert torch.equal(ours, again.get_parameter(name)), name
    categorical, numeric = torch.arange(60).view(30, 2) % 4, torch.randn(30, 5).double()
    logits, negative_entropy = reference(torch.cat([categorical, numeric.float()], dim=1))
    output, back = network(categorical, numeric.float().double()), again(categorical, numeric.float().double())
    torch.testing.assert_close(output.logits, logits, atol=1e-12, rtol=0)
    torch.testing.assert_close(output.penalty, -network.sparsity * negative_entropy, atol=1e-12, rtol=0)
    assert torch.equal(output.logits, back.logits)
    assert again.training == training
    if network.encoder.n_shared:
        blocks = reference.tabnet.encoder.feat_transformers
        assert all(block.shared.glu_layers[0].fc is blocks[0].shared.glu_layers[0].fc for block in blocks)


@pytest.mark.parametrize(
    "matrix", [[[0.5, 0.5, 0], [0, 0.5, 0.5]], [[0.9, 0.1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]]
)
def test_groups_made_by_hand_are_refused(matrix: list[list[float]]) -> None:
    reference = tab_network.TabNet(3, 2, group_attention_matrix=torch.tensor(matrix))
    with pytest.raises(ValueError, match="group"):
        from_reference(reference)


def rewritten(saved: Path, path: Path, **members: bytes | None) -> Path:
    """``saved`` with members replaced, or left out where None."""
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w") as new:
        for name in ("model_params.json", "network.pt"):
            content = members.get(name.split(".")[0], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return path


def parameters(saved: Path, **changes: Any) -> bytes:
    with zipfile.ZipFile(saved) as file:
        settings = json.loads(file.read("model_params.json"))
    settings["init_params"].update(changes)
    return json.dumps(settings).encode()


def test_several_tasks_are_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 tasks"):
        TabNet.from_pytorch_tabnet(tab_network.TabNet(3, [2, 4], group_attention_matrix=torch.eye(3)))
    path = rewritten(saved, tmp_path / "tasks.zip", model_params=parameters(saved, output_dim=[2, 2]))
    with pytest.raises(UserError, match=r"tasks\.zip: .*2 tasks"):
        TabNet.from_pytorch_tabnet(path)


def test_settings_of_an_older_file_are_the_classifiers_defaults(saved: Path, tmp_path: Path) -> None:
    settings = json.loads(parameters(saved))
    for name in ("grouped_features", "mask_type", "lambda_sparse", "momentum"):
        del settings["init_params"][name]
    path = rewritten(saved, tmp_path / "old.zip", model_params=json.dumps(settings).encode())
    old, new = TabNet.from_pytorch_tabnet(path), TabNet.from_pytorch_tabnet(saved)
    inputs = tensors(table(), [1, 4])
    np.testing.assert_array_equal(probabilities(old, *inputs), probabilities(new, *inputs))
    assert (old.sparsity, old.encoder.momentum, old.encoder.mask_type) == (1e-3, 0.02, "sparsemax")


def test_one_width_for_all_embeddings(tmp_path: Path) -> None:
    saved = TabNet([5, 3], 5, embedding_dim=2).to_pytorch_tabnet(tmp_path / "saved")
    path = rewritten(saved, tmp_path / "one.zip", model_params=parameters(saved, cat_emb_dim=2))
    assert TabNet.from_pytorch_tabnet(path).embedding_dims == [2, 2]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.zip cannot be read: No such file"):
        TabNet.from_pytorch_tabnet(tmp_path / "none")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file(share: float, saved: Path, tmp_path: Path) -> None:
    content = saved.read_bytes()
    path = tmp_path / "cut.zip"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"cut\.zip is damaged or not a zip file"):
        TabNet.from_pytorch_tabnet(path)


def test_a_flipped_byte(saved: Path, tmp_path: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "flipped.zip"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"flipped\.zip is damaged"):
        TabNet.from_pytorch_tabnet(path)


@pytest.mark.parametrize("member", ["model_params", "network"])
def test_a_missing_member(member: str, saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path / "part.zip", **{member: None})
    with pytest.raises(UserError, match=rf"part\.zip is not a model of pytorch-tabnet: .*{member}"):
        TabNet.from_pytorch_tabnet(path)


class Trap:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("trap"),)


def objects(with_torch: bool) -> bytes:
    file = io.BytesIO()
    if with_torch:
        torch.save({"weight": Trap()}, file)
    else:
        pickle.dump({"weight": Trap()}, file, protocol=2)
    return file.getvalue()


@pytest.mark.parametrize("with_torch", [True, False])
def test_objects_are_not_unpickled(
    with_torch: bool, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = rewritten(saved, tmp_path / "objects.zip", network=objects(with_torch))
    with pytest.raises(UserError, match=r"objects\.zip: its network\.pt holds objects other than tensors"):
        TabNet.from_pytorch_tabnet(path)
    assert not Path("trap").exists()


def a_tensor() -> bytes:
    file = io.BytesIO()
    torch.save(torch.zeros(2), file)
    return file.getvalue()


def test_a_damaged_state(saved: Path, tmp_path: Path) -> None:
    for number, content in enumerate([b"", b"\x80", b"PK\x03\x04 and so on", a_tensor()[:200]]):
        path = rewritten(saved, tmp_path / f"{number}.zip", network=content)
        with pytest.raises(UserError, match=rf"{number}\.zip: its network\.pt"):
            TabNet.from_pytorch_tabnet(path)


def test_a_state_that_does_not_fit(saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path / "deeper.zip", model_params=parameters(saved, n_steps=4))
    with pytest.raises(UserError, match=r"deeper\.zip: its network\.pt does not fit .* another version"):
        TabNet.from_pytorch_tabnet(path)
    path = rewritten(saved, tmp_path / "tensor.zip", network=a_tensor())
    with pytest.raises(UserError, match=r"tensor\.zip: its network\.pt does not fit"):
        TabNet.from_pytorch_tabnet(path)


@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b"[]", b"{}", b'{"init_params": {}}', b'{"init_params": {"input_dim": 3}}']
)
def test_parameters_that_are_none(content: bytes, saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path / "none.zip", model_params=content)
    with pytest.raises(UserError, match=r"none\.zip: its model_params\.json"):
        TabNet.from_pytorch_tabnet(path)


@pytest.mark.parametrize(
    "changes", [{"n_d": "8"}, {"mask_type": "softmax"}, {"grouped_features": [[9]]}, {"input_dim": -1}, {"n_steps": 0}]
)
def test_parameters_out_of_range(changes: dict[str, Any], saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path / "odd.zip", model_params=parameters(saved, **changes))
    with pytest.raises(UserError, match=r"odd\.zip: "):
        TabNet.from_pytorch_tabnet(path)


def test_a_failed_write_leaves_the_old_file(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = TabNet.from_pytorch_tabnet(saved)
    path = network.to_pytorch_tabnet(tmp_path / "folder" / "model")
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="No space"):
        network.to_pytorch_tabnet(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
