"""Cells that hold cells: in sequence, and as a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from ..ir import ModelError
from .cell import Cell


class _Held(Cell):
    """Cells by position; their names are the positions, or those of a mapping."""

    def __init__(self, *cells: Cell | Iterable[Cell] | Mapping[str, Cell]) -> None:
        super().__init__()
        if len(cells) == 1 and isinstance(cells[0], Mapping):
            for name, cell in cells[0].items():
                self.insert_child_to_cell(name, _checked(cell))
            return
        given: Iterable[Any] = cells
        if len(cells) == 1 and not isinstance(cells[0], Cell):
            given = cells[0]
        for cell in given:
            self.append(cell)

    def append(self, cell: Cell) -> None:
        """Put a cell at the end."""
        self.insert_child_to_cell(str(len(self)), _checked(cell))

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Iterator[Cell]:
        return iter(list(self._cells.values()))

    @overload
    def __getitem__(self, index: int) -> Cell: ...

    @overload
    def __getitem__(self, index: slice) -> list[Cell]: ...

    def __getitem__(self, index: int | slice) -> Cell | list[Cell]:
        return list(self._cells.values())[index]


class SequentialCell(_Held):
    """Cells applied one after the other; given one by one, as a list, or as a dict."""

    def construct(self, x: Any) -> Any:
        """``x`` sent through all cells."""
        for cell in self:
            x = cell(x)
        return x


class CellList(_Held):
    """Cells by index, for ``construct`` to call as it likes."""

    def extend(self, cells: Iterable[Cell]) -> None:
        """Put cells at the end."""
        for cell in cells:
            self.append(cell)


def _checked(cell: Any) -> Cell:
    if not isinstance(cell, Cell):
        raise ModelError(f"a {type(cell).__name__} is not a cell")
    return cell
