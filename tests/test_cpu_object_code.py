"""Text of lowered bodies, optimised and linked to object code, and loaded."""

from __future__ import annotations

import ctypes
import math
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numba.core import types

from opweave.targets.cpu import elf, loader, object_code
from opweave.targets.cpu.numba_frontend import lower

from .lowering import buffer


def copying(x: Any, y: Any, n: Any, flag: Any) -> None:
    for i in range(n):
        y[i] = x[i] if flag else x[0]


def test_parameters_are_flat_and_annotated() -> None:
    kinds = [buffer("float32", 2, readonly=True), buffer("float32"), types.int64, types.boolean]

    def body(x: Any, y: Any, n: Any, flag: Any) -> None:
        for i in range(n):
            y[i] = x[i, 0] if flag else x[0, i]

    lowered = lower(body, kinds, name="named", alignment=64)
    assert lowered.parameters == ("ptr", "i64", "i64", "ptr", "i64", "i64", "i8")
    header = next(line for line in lowered.ir_text.splitlines() if line.startswith("define"))
    assert header.startswith("define i64 @named(")
    assert header.count("noalias") == 2
    assert header.count("align 64") == 2
    assert header.count("readonly") == 1


def test_alignment_reaches_the_code() -> None:
    def body(x: Any) -> None:
        for i in range(1024):
            x[i] = 2.0

    text = lower(body, [buffer("float32")], name="f", literal_type="float32", alignment=64).ir_text
    caller = (
        "define void @caller(ptr %p) {\n  %s = call i64 @f(ptr %p, i64 1024)\n  ret void\n}\n"
        "declare i64 @f(ptr, i64)\n"
    )
    module = object_code.optimise(object_code.link([text, caller], exports=["caller"]))
    assert re.search(r"store <\d+ x float> .*align 64", str(module))


def test_text_is_the_same_each_time() -> None:
    def helper(x: Any) -> Any:
        return table[0] * x

    table = np.arange(4.0)

    def body(x: Any, y: Any) -> None:
        for i in range(x.shape[0]):
            y[i] = helper(x[i]) + table[i % 4]

    texts = {lower(body, [buffer("float32")] * 2, name="f").ir_text for _ in range(3)}
    assert len(texts) == 1
    assert "numba" not in texts.pop().lower()


def test_texts_link_into_one_module() -> None:
    kinds = [buffer("float32"), buffer("float32"), types.int64, types.boolean]
    texts = [lower(copying, kinds, name=name).ir_text for name in ("first", "second")]
    caller = (
        "declare i64 @first(ptr, i64, ptr, i64, i64, i8)\n"
        "declare i64 @second(ptr, i64, ptr, i64, i64, i8)\n"
        "define i64 @both(ptr %x, ptr %y, ptr %z, i64 %n) {\n"
        "  %a = call i64 @first(ptr %x, i64 %n, ptr %y, i64 %n, i64 %n, i8 1)\n"
        "  %b = call i64 @second(ptr %x, i64 %n, ptr %z, i64 %n, i64 %n, i8 0)\n"
        "  %s = add i64 %a, %b\n"
        "  ret i64 %s\n}\n"
    )
    module = object_code.optimise(object_code.link([*texts, caller], exports=["both"]))
    assert [f.name for f in module.functions if not f.is_declaration] == ["both"]
    x = np.arange(5, dtype=np.float32)
    y, z = np.zeros_like(x), np.zeros_like(x)
    with loader.load_object(object_code.emit_object(module)) as code:
        prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 3, ctypes.c_int64)
        both = prototype(code.address("both"))
        assert both(x.ctypes.data, y.ctypes.data, z.ctypes.data, 5) == 0
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(z, np.zeros(5))


def test_reductions_are_vectorised_when_sums_may_be_reordered() -> None:
    def total(x: Any, y: Any) -> None:
        sum_ = 0.0
        for i in range(x.shape[0]):
            sum_ += x[i]
        y[0] = sum_

    kinds = [buffer("float32")] * 2
    flags = frozenset({"reassoc", "nsz", "contract"})
    text = lower(total, kinds, name="f", literal_type="float32", fastmath=flags).ir_text
    assert "fadd reassoc nsz contract float" in text
    if object_code.host_cpu().vector_bits > 128:
        assembly = object_code.emit_assembly(object_code.optimise(text))
        assert re.search(r"vaddps\s.*%[yz]mm", assembly)


# Object code


def test_object_code_needs_no_numba() -> None:
    script = (
        "import sys\n"
        "from opweave.targets.cpu import loader, object_code as o\n"
        "code = loader.load_object(o.emit_object('define i64 @f() { ret i64 3 }'))\n"
        "assert code.address('f')\n"
        "assert 'numba' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_c_library_is_found() -> None:
    text = (
        "declare double @exp(double)\ndeclare float @expf(float)\ndeclare ptr @malloc(i64)\n"
        "declare void @free(ptr)\ndeclare ptr @memset(ptr, i32, i64)\n"
        "define double @f(double %x) {\n  %p = call ptr @malloc(i64 64)\n"
        "  %q = call ptr @memset(ptr %p, i32 1, i64 64)\n  call void @free(ptr %q)\n"
        "  %e = call double @exp(double %x)\n  %s = fptrunc double %x to float\n"
        "  %g = call float @expf(float %s)\n  %w = fpext float %g to double\n"
        "  %r = fadd double %e, %w\n  ret double %r\n}\n"
    )
    data = object_code.emit_object(text)
    assert {"exp", "expf"} <= set(elf.undefined_symbols(data))
    with loader.load_object(data) as code:
        found = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code.address("f"))(1.0)
    assert found == pytest.approx(2 * math.e, rel=1e-7)


def test_damaged_object_files_are_refused() -> None:
    data = object_code.emit_object("define i64 @f() { ret i64 3 }")
    for bad in (b"", b"nothing", data[:100], data[:-8], b"\x7fELF" + bytes(200)):
        with pytest.raises(object_code.CodeError, match="cannot be loaded"):
            loader.load_object(bad)
    body = "{\n  call void @no_such_function()\n  ret void\n}\n"
    text = f"declare void @no_such_function()\ndefine void @f() {body}"
    with pytest.raises(object_code.CodeError, match="no_such_function"):
        loader.load_object(object_code.emit_object(text))


def test_defects_of_modules_are_told() -> None:
    good = "define i64 @f() { ret i64 3 }"
    with pytest.raises(object_code.CodeError, match="rejects"):
        object_code.parse("define i64 @f() { ret i32 3 }")
    with pytest.raises(object_code.CodeError, match="fit together"):
        object_code.link([good, good])
    with pytest.raises(object_code.CodeError, match="nothing defines g"):
        object_code.link([good], exports=["g"])
    with pytest.raises(ValueError, match="nothing to link"):
        object_code.link([])


def test_closed_code_has_no_addresses() -> None:
    code = loader.load_object(object_code.emit_object("define i64 @f() { ret i64 3 }"))
    with pytest.raises(object_code.CodeError, match="does not define g"):
        code.address("g")
    code.close()
    code.close()
    with pytest.raises(object_code.CodeError, match="unloaded"):
        code.address("f")


def test_host_is_described() -> None:
    cpu = object_code.host_cpu()
    assert cpu is object_code.host_cpu()
    assert cpu.name
    assert cpu.triple
    assert cpu.data_layout
    assert cpu.vector_bits in (128, 256, 512)
