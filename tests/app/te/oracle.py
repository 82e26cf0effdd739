"""The best that any allocator could do, by linear programming (HiGHS): fractions of prefixes may be moved."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array, vstack

from app.te.decision.ledger import Candidate


class Best(NamedTuple):
    residual_bps: float
    moved_bps: float


def best(
    candidates: Sequence[Candidate],
    load_bps: Mapping[str, float],
    goal_bps: Mapping[str, float],
    limit_bps: Mapping[str, float],
) -> Best:
    """Least overload above the goals first, then least bytes moved; targets stay within their limits.

    Variables: one fraction per (candidate, target), then one overload per link with a goal.
    """
    choices = [(c, one.exit.link) for c in candidates for one in c.targets if one.exit.link in limit_bps]
    goals = list(goal_bps)
    width = len(choices) + len(goals)
    rows: list[tuple[int, int, float]] = []  # (row, column, value) of A_ub
    row_of = {name: row for row, name in enumerate([*(c.prefix for c in candidates), *goals, *limit_bps])}
    bounds = [1.0] * len(candidates)
    bounds += [(goal_bps[link] - load_bps[link]) / 1e9 for link in goals]
    bounds += [(limit_bps[link] - load_bps.get(link, 0.0)) / 1e9 for link in limit_bps]
    for column, (candidate, target) in enumerate(choices):
        rows.append((row_of[candidate.prefix], column, 1.0))
        rows.append((row_of[target], column, candidate.bps / 1e9))
        for link, bps in candidate.off_bps.items():
            if link in row_of:
                rows.append((row_of[link], column, -bps / 1e9))
    rows += [(row_of[link], len(choices) + i, -1.0) for i, link in enumerate(goals)]
    at_row, at_column, values = zip(*rows, strict=True)
    matrix = coo_array((values, (at_row, at_column)), shape=(len(bounds), width)).tocsr()
    moved = np.array([candidate.bps / 1e9 for candidate, _ in choices] + [0.0] * len(goals))
    overload = np.array([0.0] * len(choices) + [1.0] * len(goals))
    limits = [(0, 1)] * len(choices) + [(0, None)] * len(goals)
    first = linprog(overload, A_ub=matrix, b_ub=bounds, bounds=limits, method="highs")
    capped = vstack([matrix, coo_array(overload[np.newaxis, :])]).tocsr()
    second = linprog(moved, A_ub=capped, b_ub=[*bounds, first.fun + 1e-6], bounds=limits, method="highs")
    return Best(first.fun * 1e9, second.fun * 1e9)
