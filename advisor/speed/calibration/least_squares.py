"""Linear equations with a symmetric positive definite matrix of a dozen rows, without a library."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

Matrix = tuple[tuple[float, ...], ...]


def solve(matrix: Matrix, right: Sequence[float]) -> list[float]:
    """x of ``matrix`` × x = ``right``. Raises ValueError where the matrix is not positive definite."""
    return _substitute(_cholesky(matrix), right)


def inverse(matrix: Matrix) -> Matrix:
    """Raises ValueError where the matrix is not positive definite."""
    lower, size = _cholesky(matrix), len(matrix)
    columns = [_substitute(lower, [float(i == j) for j in range(size)]) for i in range(size)]
    return tuple(map(tuple, columns))


def _cholesky(matrix: Matrix) -> list[list[float]]:
    """The lower triangle L with L × Lᵀ = ``matrix``."""
    lower: list[list[float]] = []
    for i, row in enumerate(matrix):
        mine: list[float] = []
        for j in range(i + 1):
            above = mine if j == i else lower[j]
            rest = row[j] - sum(mine[k] * above[k] for k in range(j))
            if j == i and rest <= 0:
                raise ValueError("not positive definite")
            mine.append(sqrt(rest) if j == i else rest / lower[j][j])
        lower.append(mine)
    return lower


def _substitute(lower: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    size = len(lower)
    forward: list[float] = []
    for i in range(size):
        done = sum(lower[i][k] * forward[k] for k in range(i))
        forward.append((right[i] - done) / lower[i][i])
    solution = [0.0] * size
    for i in reversed(range(size)):
        done = sum(lower[k][i] * solution[k] for k in range(i + 1, size))
        solution[i] = (forward[i] - done) / lower[i][i]
    return solution
