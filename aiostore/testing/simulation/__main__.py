"""`python -m aiostore.testing.simulation`: simulate migrations, and find the seeded bugs."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from aiostore.testing.simulation.bugs import BUGS, Patches
from aiostore.testing.simulation.run import Verdict, simulate
from aiostore.testing.simulation.scenarios import SCENARIOS, plan_of
from aiostore.testing.simulation.search import search
from aiostore.testing.simulation.systematic import Bounds, run_schedule, schedules, tiny_services

_SHARE = 250
"""Histories that a worker is given at a time."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code, which is 0 if all is as it must be."""
    options = _parser().parse_args(arguments)
    if options.replay is not None:
        return _replay(options)
    if options.seeded_bugs is not None:
        return _seeded_bugs(options.seeded_bugs or list(BUGS))
    if options.systematic:
        return _systematic(Bounds(deviations=options.deviations, places=options.places))
    return _histories(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m aiostore.testing.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many histories to run")
    parser.add_argument("--first-seed", type=int, default=0, help="where they begin")
    parser.add_argument("--workers", type=int, default=1, help="processes that run them")
    parser.add_argument("--scenario", choices=SCENARIOS, help="only this kind of run")
    parser.add_argument("--replay", type=int, metavar="SEED", help="tell what happens in one run")
    parser.add_argument(
        "--bug", choices=BUGS, help="with --replay: with this bug, and in its kind of run"
    )
    parser.add_argument(
        "--seeded-bugs",
        nargs="*",
        choices=BUGS,
        metavar="NAME",
        help="look for every seeded bug, or for these; fails if one is not found",
    )
    parser.add_argument(
        "--systematic", action="store_true", help="all schedules of tiny services within bounds"
    )
    parser.add_argument("--deviations", type=int, default=1, help="with --systematic: at most")
    parser.add_argument("--places", type=int, default=60, help="with --systematic: among so many")
    return parser


def _replay(options: argparse.Namespace) -> int:
    scenario = options.scenario if options.bug is None else BUGS[options.bug].scenario
    plan = plan_of(options.replay, scenario)
    with Patches() as patches:
        if options.bug is not None:
            BUGS[options.bug].apply(patches)
        verdict = simulate(plan, options.replay, traced=True)
    _say(plan, *verdict.lines, *_told(verdict))
    return int(bool(verdict.faults))


def _histories(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    end = options.first_seed + options.seeds
    shares = [
        range(first, min(first + _SHARE, end)) for first in range(options.first_seed, end, _SHARE)
    ]
    run = partial(failing_seeds, scenario=options.scenario)
    if options.workers == 1:
        results = list(map(run, shares))
    else:
        with ProcessPoolExecutor(options.workers) as pool:
            results = list(pool.map(run, shares))
    failed = [seed for seeds, _ in results for seed in seeds]
    kinds = sum((counted for _, counted in results), Counter[str]())
    _say(
        *(f"{kind:12} {number}" for kind, number in sorted(kinds.items())),
        f"{kinds.total()} histories in {time.perf_counter() - began:.1f} s, {len(failed)} failed",
    )
    for seed in failed[:1]:
        _say(f"--replay {seed}" + (f" --scenario {options.scenario}" if options.scenario else ""))
        verdict = simulate(plan_of(seed, options.scenario), seed, traced=True)
        _say(*verdict.lines, *_told(verdict), f"all that failed: {failed}")
    return int(bool(failed))


def failing_seeds(seeds: Iterable[int], scenario: str | None) -> tuple[list[int], Counter[str]]:
    """Which seeds break a promise, and how many runs of each kind there were."""
    failed: list[int] = []
    kinds: Counter[str] = Counter()
    for seed in seeds:
        plan = plan_of(seed, scenario)
        kinds[plan.scenario] += 1
        if simulate(plan, seed).faults:
            failed.append(seed)
    return failed, kinds


def _seeded_bugs(names: Iterable[str]) -> int:
    uncaught = 0
    for name in names:
        found = search(BUGS[name])
        uncaught += found.seed is None
        how = "NOT FOUND" if found.seed is None else f"found at seed {found.seed}"
        _say(
            f"{name:24} {how} after {found.histories} histories, {found.seconds:.1f} s: "
            f"{BUGS[name].breaks}"
        )
    return int(bool(uncaught))


def _systematic(bounds: Bounds) -> int:
    began, number = time.perf_counter(), 0
    for plan in tiny_services():
        for schedule in schedules(bounds):
            number += 1
            verdict = run_schedule(plan, schedule)
            if verdict.faults:
                _say(*run_schedule(plan, schedule, traced=True).lines, *_told(verdict))
                _say(f"{plan}, {schedule}")
                return 1
    _say(f"{number} schedules in {time.perf_counter() - began:.1f} s, none failed")
    return 0


def _told(verdict: Verdict) -> list[str]:
    """The verdict in lines."""
    return ["", *verdict.faults] if verdict.faults else ["", "all promises were kept"]


def _say(*lines: object) -> None:
    for line in lines:
        print(line)  # noqa: T201  # it is what the command is for


if __name__ == "__main__":
    sys.exit(main())
