"""Checkpoint files: MindSpore's own, byte for byte, and what users may do wrong with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import opweave as ow
from opweave.formats.checkpoint import write
from opweave.formats.checkpoint.entries import ELEMENT_TYPES, StoredArray, StoredMap, stored
from opweave.formats.checkpoint.read import read_checkpoint
from opweave.formats.checkpoint.safetensors import read_safetensors
from opweave.formats.checkpoint.write import encoded, write_checkpoint
from opweave.formats.limits import Limits
from opweave.formats.varints import varint

FILES = Path(__file__).parent / "data" / "checkpoint"
# MindSpore 2.10 wrote these as it would today; those with numbers belong to MindIR files.
NETWORKS = sorted(path.stem for path in FILES.glob("*_*.ckpt") if path.stem[1:2].isdigit())
WRITTEN = ["lenet", "all_dtypes", "append_dict", "momentum_optimizer", "plain"]
KEY = "0123456789ABCDEF"
ENCRYPTED = [
    ("enc_aes_gcm", KEY, "AES-GCM"),
    ("enc_aes_cbc", KEY + "01234567", "AES-CBC"),
    ("enc_sm4_cbc", KEY, "SM4-CBC"),
]


def numbers(loaded: dict[str, Any]) -> dict[str, Any]:
    return {
        k: v.asnumpy() if isinstance(v, ow.networks.Parameter) else v for k, v in loaded.items()
    }


@pytest.mark.parametrize("name", WRITTEN + NETWORKS)
def test_what_was_read_is_written_back_byte_for_byte(name: str, tmp_path: Path) -> None:
    loaded = ow.load_checkpoint(FILES / f"{name}.ckpt")
    path = ow.save_checkpoint(loaded, tmp_path / "again")
    assert path == tmp_path / "again.ckpt"
    assert path.read_bytes() == (FILES / f"{name}.ckpt").read_bytes()


@pytest.mark.parametrize("name", ["plain", "all_dtypes"])
def test_arrays_are_those_that_were_saved(name: str) -> None:
    loaded = numbers(ow.load_checkpoint(FILES / f"{name}.ckpt"))
    with np.load(FILES / f"{name}.npz") as saved:
        assert set(saved.files) == set(loaded)
        for key in saved.files:
            assert np.array_equal(loaded[key].astype(saved[key].dtype), saved[key]), key


def test_appended_values() -> None:
    loaded = numbers(ow.load_checkpoint(FILES / "append_dict.ckpt"))
    assert (loaded["epoch_num"], loaded["flag"], loaded["text"]) == (3, False, "héllo")
    assert loaded["empty"] == ""
    assert loaded["lr"] == np.float32(0.01)
    assert loaded["t2"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_2_0_way_of_writing_scalars() -> None:
    loaded = numbers(ow.load_checkpoint(FILES / "ms2.0.0_all_append.ckpt"))
    assert loaded["s0"].shape == ()
    assert loaded["s0"] == 3.5
    assert loaded["s1"].tolist() == [3.5]
    assert loaded["note"] == "héllo"


def test_slices_are_joined_even_inside_elements() -> None:
    loaded = numbers(ow.load_checkpoint(FILES / "handmade_sliced.ckpt"))
    assert np.array_equal(loaded["big.weight"], np.arange(24, dtype=np.float32).reshape(4, 6))


def test_large_tensors_are_sliced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "SLICE_BYTES", 10)
    array = np.arange(9, dtype=np.float32)
    entries = [stored("a", array), stored("b", array[:2])]
    data = b"".join(encoded(entries))
    assert data.count(b"\n\x01a") == 4
    found = read_checkpoint(data)
    assert np.array_equal(found["a"].array(), array)  # type: ignore[union-attr]


@pytest.mark.parametrize(("name", "key", "mode"), ENCRYPTED)
def test_encrypted(name: str, key: str, mode: str, tmp_path: Path) -> None:
    plain = numbers(ow.load_checkpoint(FILES / "plain.ckpt"))
    loaded = ow.load_checkpoint(FILES / f"{name}.ckpt", dec_key=key, dec_mode=mode)
    again = ow.save_checkpoint(loaded, tmp_path / "x.ckpt", enc_key=key, enc_mode=mode)
    for found in (loaded, ow.load_checkpoint(again, dec_key=key, dec_mode=mode)):
        for name_, array in numbers(found).items():
            assert np.array_equal(array, plain[name_])
    with pytest.raises(ow.FormatError, match="key"):
        ow.load_checkpoint(again, dec_key="x" * len(key), dec_mode=mode)
    with pytest.raises(ow.ModelError, match="dec_key"):
        ow.load_checkpoint(again)
    with pytest.raises(ow.ModelError, match="not encrypted"):
        ow.load_checkpoint(FILES / "plain.ckpt", dec_key=key)


def test_checksum(tmp_path: Path) -> None:
    loaded = ow.load_checkpoint(FILES / "crc.ckpt", crc_check=True)
    path = ow.save_checkpoint(loaded, tmp_path / "x", crc_check=True)
    assert path.read_bytes() == (FILES / "crc.ckpt").read_bytes()
    damaged = bytearray(path.read_bytes())
    damaged[60] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ow.FormatError, match="checksum"):
        ow.load_checkpoint(path, crc_check=True)
    with pytest.warns(UserWarning, match="no checksum"):
        ow.load_checkpoint(FILES / "plain.ckpt", crc_check=True)


def test_safetensors_both_ways(tmp_path: Path) -> None:
    loaded = ow.load_checkpoint(FILES / "plain.safetensors", format="safetensors")
    plain = numbers(ow.load_checkpoint(FILES / "plain.ckpt"))
    assert {k: v.tolist() for k, v in numbers(loaded).items()} == {
        k: v.tolist() for k, v in plain.items()
    }
    path = ow.save_checkpoint(loaded, tmp_path / "x", format="safetensors")
    assert path.read_bytes() == (FILES / "plain.safetensors").read_bytes()
    path = ow.save_checkpoint(plain, tmp_path / "y", format="safetensors", crc_check=True)
    assert set(read_safetensors(path, crc_check=True)) == set(plain)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    with pytest.raises(ow.FormatError, match="checksum"):
        read_safetensors(bytes(damaged), crc_check=True)
    with pytest.raises(ow.ModelError, match="note"):
        ow.save_checkpoint({"note": "text"}, tmp_path / "z", format="safetensors")


def test_hash_tables(tmp_path: Path) -> None:
    table = StoredMap("table", np.arange(3), np.ones((3, 2), np.float32), np.zeros(3, np.int32))
    write_checkpoint([table], tmp_path / "x.ckpt")
    found = ow.load_checkpoint(tmp_path / "x.ckpt")["table"]
    assert [part.tolist() for part in found] == [  # type: ignore[union-attr]
        part.tolist() for part in (table.keys, table.values, table.status)
    ]
    again = ow.save_checkpoint({"table": found}, tmp_path / "y")
    assert again.read_bytes() == (tmp_path / "x.ckpt").read_bytes()


@settings(deadline=None)
@given(
    st.sampled_from([name for name in ELEMENT_TYPES if name != "Int4"]),
    st.lists(st.integers(1, 4), max_size=4),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
)
def test_every_type_and_shape(type_: str, shape: list[int], name: str) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(ELEMENT_TYPES[type_])
    (entry,) = read_checkpoint(b"".join(encoded([stored(name, array)]))).values()
    assert isinstance(entry, StoredArray)
    assert (entry.name, entry.shape, entry.array().dtype) == (name, array.shape, array.dtype)
    assert np.array_equal(entry.array(), array)


# --- networks --------------------------------------------------------------------------------


def test_a_network_and_back(tmp_path: Path) -> None:
    net = ow.networks.lenet(num_classes=10)
    path = ow.save_checkpoint(net, tmp_path / "lenet", append_dict={"epoch_num": 7})
    other = ow.networks.lenet(num_classes=10)
    other.init_parameters_data(seed=5)
    loaded = ow.load_checkpoint(path)
    assert ow.load_param_into_net(other, loaded) == ([], ["epoch_num"])
    for name, parameter in net.parameters_and_names():
        assert np.array_equal(parameter.asnumpy(), other.parameters_dict()[name].asnumpy())


def test_prefixes_choose() -> None:
    path = FILES / "momentum_optimizer.ckpt"
    everything = set(ow.load_checkpoint(path))
    moments = set(ow.load_checkpoint(path, specify_prefix="moments."))
    assert moments
    assert moments == {name for name in everything if name.startswith("moments.")}
    rest = set(ow.load_checkpoint(path, filter_prefix=("moments.",)))
    assert rest == everything - moments
    chosen = ow.load_checkpoint(path, choice_func=lambda name: name.endswith("bias"))
    assert all(name.endswith("bias") for name in chosen)
    with pytest.raises(ow.ModelError, match="prefixes leave"):
        ow.load_checkpoint(path, specify_prefix="nothing")
    for prefix in ("", [], ["moments.", ""], {"moments."}, ["moments.", 3]):
        with pytest.raises(ow.ModelError, match="not empty"):
            ow.load_checkpoint(path, filter_prefix=prefix)  # type: ignore[arg-type]


def test_what_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    held = [ow.networks.Parameter(np.full(2, k, np.float32), name) for k, name in enumerate("aba")]
    ow.save_checkpoint(held, path, append_dict={"b": 5, "wide": 1 << 63, "f": np.float64(0.1)})
    found = numbers(ow.load_checkpoint(path))
    assert list(found) == ["a", "b", "wide", "f"]
    assert found["a"].tolist() == [2, 2]
    assert (found["b"].dtype, found["wide"].dtype) == (np.int64, np.uint64)
    assert found["f"] == 0.1
    with path.open("rb") as file:
        assert list(ow.load_checkpoint(file)) == list(found)
    for wrong in (1, "later"):
        with pytest.raises(ow.ModelError, match="async_save"):
            ow.save_checkpoint(held, path, async_save=wrong)  # type: ignore[arg-type]
    for value in (None, 1 << 64, [1, 2], 1j):
        with pytest.raises(ow.ModelError, match="more"):
            ow.save_checkpoint(held, path, append_dict={"more": value})
    with pytest.raises(ow.ModelError, match="several devices"):
        ow.load_checkpoint(path, Pair(), remove_redundancy=True)


def test_checksums_of_single_whole_numbers(tmp_path: Path) -> None:
    """MindSpore's are odd for them; what it would sum up for long is summed up as it is."""
    path = tmp_path / "x.safetensors"
    for number in (37, 0, -1, 1 << 62):
        ow.save_checkpoint({"n": np.array(number)}, path, format="safetensors", crc_check=True)
        found = ow.load_checkpoint(path, format="safetensors", crc_check=True)
        assert numbers(found)["n"] == number


class Pair(ow.networks.Cell):
    """A matrix and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = ow.networks.Parameter(np.zeros((2, 3), np.float32))
        self.bias = ow.networks.Parameter(np.zeros(2, np.float32))


def test_what_does_not_fit_changes_nothing() -> None:
    net = Pair()
    good = np.ones((2, 3), np.float32)
    for bad, what in [
        (np.ones((3, 2), np.float32), "shape"),
        (np.ones((2, 3), np.int32), "int32"),
    ]:
        with pytest.raises(ow.ModelError, match=what):
            ow.load_param_into_net(net, {"bias": np.ones(2, np.float32), "weight": bad})
        assert not net.bias.asnumpy().any()
    assert ow.load_param_into_net(net, {"weight": good}) == (["bias"], [])
    with pytest.raises(ow.ModelError, match="strict_load"):
        ow.load_param_into_net(net, {"weight": good.astype(np.float16)}, strict_load=True)


def test_conversions_and_prefixes() -> None:
    net = Pair()
    given_ = {
        "net.weight": np.full((2, 3, 1, 1), 2.5, ml_dtypes.bfloat16),
        "net.bias": np.ones(2),
    }
    assert ow.load_param_into_net(net, given_) == ([], ["net.weight", "net.bias"])
    assert net.weight.asnumpy().tolist() == [[2.5] * 3] * 2
    missing, _ = ow.load_param_into_net(Pair(), given_, strict_load=True)
    assert missing == ["weight", "bias"]


# --- what users and attackers do ---------------------------------------------------------------


def test_names_of_files(tmp_path: Path) -> None:
    with pytest.raises(ow.ModelError, match=r"\.ckpt"):
        ow.load_checkpoint(FILES / "plain.safetensors")
    with pytest.raises(ow.ModelError, match="format"):
        ow.load_checkpoint(FILES / "plain.ckpt", format="pickle")
    (tmp_path / "empty.ckpt").write_bytes(b"")
    with pytest.raises(ow.ModelError, match="empty"):
        ow.load_checkpoint(tmp_path / "empty.ckpt")


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = ow.save_checkpoint({"a": np.ones(3, np.float32)}, tmp_path / "x")
    before = path.read_bytes()
    os.chmod(path, 0o400)  # as MindSpore leaves them
    with pytest.raises(ow.ModelError, match="object"):
        ow.save_checkpoint({"a": np.ones(3, np.float32), "b": object()}, path)
    assert path.read_bytes() == before
    ow.save_checkpoint({"a": np.zeros(3, np.float32)}, path)
    assert path.read_bytes() != before
    assert [file.name for file in tmp_path.iterdir()] == ["x.ckpt"]


def test_listing_reads_no_contents(tmp_path: Path) -> None:
    """A sparse file of 8 GB is listed: only its heads are looked at."""
    head = b"".join(encoded([stored("a", np.ones(1, np.float32))]))
    content = 8 << 30
    tensor = b"\x08" + varint(content // 4) + head[head.index(b"\x12\x07Float32") :][:9]
    tensor += b"\x1a" + varint(content)
    value = b"\n\x01a\x12" + varint(len(tensor) + content) + tensor
    path = tmp_path / "large.ckpt"
    with path.open("wb") as file:
        file.write(b"\n" + varint(len(value) + content) + value)
        file.truncate(file.tell() + content)
    loaded = ow.load_checkpoint(path)
    parameter = loaded["a"]
    assert isinstance(parameter, ow.networks.Parameter)
    assert parameter.shape == (content // 4,)


@pytest.mark.parametrize("name", [*WRITTEN, "handmade_sliced", "crc"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_broken_files(name: str, data: st.DataObject) -> None:
    """Whatever is done to a file: entries, or an error that is ours."""
    raw = bytearray((FILES / f"{name}.ckpt").read_bytes()[:5000])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    try:
        for entry in read_checkpoint(bytes(raw[:cut])).values():
            if isinstance(entry, StoredArray):
                entry.array()
    except ow.Error:
        pass


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_broken_safetensors(data: st.DataObject) -> None:
    raw = bytearray((FILES / "plain.safetensors").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, 600))] = data.draw(st.integers(32, 126))
    try:
        for entry in read_safetensors(bytes(raw[: data.draw(st.integers(0, len(raw)))])).values():
            assert isinstance(entry, StoredArray)
            entry.array()
    except ow.Error:
        pass


def test_many_records_are_refused() -> None:
    with pytest.raises(ow.LimitError, match="records"):
        read_checkpoint(b"\n\x05\n\x01a\x12\x00" * 2000, limits=Limits(records=1000))
