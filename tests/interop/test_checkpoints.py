"""Checkpoints that MindSpore wrote load here, those written here load there, bit for bit."""

from __future__ import annotations

import inspect

import mindspore as ms
import ml_dtypes
import numpy as np
import pytest

import opweave as ow

TYPES = [
    *("float16", "float32", "float64", "bfloat16", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
]
SHAPES = [(), (3,), (4, 1, 5)]


def numbers(dtype: str) -> dict[str, np.ndarray]:
    """Arrays of one type, of several shapes, with values from all of its range."""
    random = np.random.default_rng(sum(dtype.encode()))
    kind = np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    found = {}
    for number, shape in enumerate(SHAPES):
        if dtype == "bool":
            array = random.integers(0, 2, shape).astype(bool)
        elif kind.kind in "iu":
            limits = np.iinfo(kind)
            array = random.integers(limits.min, limits.max, shape, kind, endpoint=True)
        else:
            array = np.asarray(random.standard_normal(shape) * 1e3).astype(kind)
            array.reshape(-1)[:2] = [np.inf, -0.0][: array.size]
        found[f"part.{number}.weight"] = np.asarray(array)
    return found


def bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.name, array.shape, array.tobytes()


def there(array: np.ndarray) -> ms.Tensor:
    if array.dtype.name == "bfloat16":
        return ms.Tensor(array.astype(np.float32), ms.bfloat16)
    return ms.Tensor(array)


def bits_there(tensor: ms.Tensor) -> tuple[str, tuple[int, ...], bytes]:
    if tensor.dtype == ms.bfloat16:
        return bits(tensor.float().asnumpy().astype(ml_dtypes.bfloat16))
    return bits(tensor.asnumpy())


@pytest.mark.parametrize("format", ["ckpt", "safetensors"])
@pytest.mark.parametrize("dtype", TYPES)
def test_types_both_ways(dtype, format, tmp_path):
    arrays = numbers(dtype)
    if format == "safetensors" and dtype in ("bfloat16", "uint16", "uint32", "uint64"):
        pytest.skip("MindSpore does not write this type as safetensors beside NumPy 2")
    theirs, ours = tmp_path / f"theirs.{format}", tmp_path / f"ours.{format}"
    entries = [{"name": name, "data": there(array)} for name, array in arrays.items()]
    ms.save_checkpoint(entries, str(theirs), format=format)
    loaded = ow.load_checkpoint(theirs, format=format)
    assert {name: bits(item.asnumpy()) for name, item in loaded.items()} == {
        name: bits(array) for name, array in arrays.items()
    }
    ow.save_checkpoint(loaded, ours, format=format)
    back = ms.load_checkpoint(str(ours), format=format)
    assert {name: bits_there(item) for name, item in back.items()} == {
        name: bits(array) for name, array in arrays.items()
    }
    if format == "ckpt":
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"crc_check": True},
        {"enc_key": b"0123456789ABCDEF", "enc_mode": "AES-GCM"},
        {"enc_key": b"0123456789ABCDEF" * 2, "enc_mode": "AES-CBC"},
        {"enc_key": b"0123456789ABCDEF", "enc_mode": "SM4-CBC"},
    ],
)
def test_appended_values_checksums_and_encryption(options, tmp_path):
    network = ow.networks.lenet(10)
    more = {"epoch_num": 3, "learning_rate": 0.5, "done": True, "note": "the third"}
    ours = tmp_path / "ours.ckpt"
    ow.save_checkpoint(network, ours, append_dict=more, **options)
    reading = {name.replace("enc_", "dec_"): value for name, value in options.items()}
    found = ms.load_checkpoint(str(ours), **reading)
    parameters = network.parameters_dict()
    assert list(found) == [*parameters, *more]
    for name, parameter in parameters.items():
        assert bits_there(found[name]) == bits(parameter.asnumpy())
    assert found["note"] == "the third"
    assert [found[name].asnumpy().item() for name in list(more)[:3]] == [3, 0.5, True]
    theirs = tmp_path / "theirs.ckpt"
    appended = {name: value for name, value in more.items()}
    held = [{"name": name, "data": found[name]} for name in parameters]
    ms.save_checkpoint(held, str(theirs), append_dict=appended, **options)
    back = ow.load_checkpoint(theirs, **reading)
    assert list(back) == list(found)
    assert all(bits(back[n].asnumpy()) == bits(p.asnumpy()) for n, p in parameters.items())
    if "enc_key" not in options:
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("name", ["load_checkpoint", "load_param_into_net", "save_checkpoint"])
def test_arguments_are_mindspores(name):
    def arguments(function: object) -> dict[str, object]:
        found = inspect.signature(function).parameters.values()
        return {item.name: item.default for item in found if item.kind != item.VAR_KEYWORD}

    theirs, ours = arguments(getattr(ms, name)), arguments(getattr(ow, name))
    # What distributes parameters over devices is not there.
    theirs.pop("remove_redundancy", None)
    assert ours == theirs


def test_prefixes_and_strictness_mean_the_same(tmp_path):
    path = str(tmp_path / "net.ckpt")
    held = {"net.fc.weight": (2, 3), "net.fc.bias": (2,), "opt.moments.fc": (2,)}
    entries = [
        {"name": name, "data": ms.Tensor(np.full(shape, 0.5, np.float16))}
        for name, shape in held.items()
    ]
    ms.save_checkpoint(entries, path)
    for options in (
        {"specify_prefix": "net"},
        {"filter_prefix": ["opt", "net.fc.b"]},
        {"specify_prefix": ["net", "opt"], "filter_prefix": "opt"},
        {"choice_func": lambda name: name.endswith("bias")},
    ):
        assert list(ow.load_checkpoint(path, **options)) == list(
            ms.load_checkpoint(path, **options)
        )

    def network(nn: object) -> object:
        class Net(nn.Cell):
            def __init__(self):
                super().__init__()
                self.fc = nn.Dense(3, 2)
                self.other = nn.Dense(1, 1, has_bias=False)

        return Net()

    ours, theirs = network(ow.networks.layers), network(ms.nn)
    results = [
        module.load_param_into_net(net, module.load_checkpoint(path))
        for module, net in ((ow, ours), (ms, theirs))
    ]
    assert results[0] == tuple(results[1])
    for name, parameter in ours.parameters_dict().items():
        if name.startswith("fc"):
            there_ = theirs.parameters_dict()[name]
            assert bits(parameter.asnumpy()) == bits_there(there_)
    for module, net in ((ow, ours), (ms, theirs)):
        with pytest.raises((ow.Error, RuntimeError)):
            module.load_param_into_net(
                net, {"fc.weight": module.load_checkpoint(path)["net.fc.weight"]}, True
            )
