"""The command: measure, print the table, and write it and the picture to F{.build/benchmarks/}."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.command import addCommon, checkNames, runToTheEnd
from benchmarks.measure import Bench
from benchmarks.proxies import OURS, Proxy, givenPeers, knownPeers, ours
from benchmarks.report import machine, rows, table
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.workshop import Workshop


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the proxy beside its peers. Commands of peers get {port} and {target}: the ports of "
        "127.0.0.1 to listen on and to lead to.",
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round, or more in some (default: 2)")
    addCommon(parser, 3, "proxy in each scenario")
    parser.add_argument("--quick", action="store_true", help="one round of half a second: does everything work?")
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="scenarios that have TEXT in their name; repeatable"
    )
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help="one more peer; repeatable")
    parser.add_argument(
        "--wss-peer",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="how that peer serves wss, with {cert} for a PEM file with key and certificate; repeatable",
    )
    return parser


def _measure(bench: Bench, scenario: Scenario, peers: Sequence[Proxy]) -> list[dict[str, Any]]:
    alone = scenario.options or scenario.access or scenario.alone
    proxies = [ours(scenario.options), *(() if alone else peers)]
    outcomes = bench.measure(scenario, proxies)
    for name, outcome in outcomes.items():
        if isinstance(outcome, str):
            print(f"{scenario.name}: {name} fails: {outcome}", file=sys.stderr)
    return list(rows(scenario, proxies, outcomes))


def main() -> None:
    """Run it all."""
    parser = _parser()
    arguments = parser.parse_args()
    for text in arguments.only:
        if not any(text in scenario.name for scenario in SCENARIOS):
            parser.error(f"--only {text}: no scenario has that in its name")
    workshop = Workshop(arguments.output)
    workshop.prepare()
    try:
        peers = [*knownPeers(workshop.environment), *givenPeers(arguments.peer, arguments.wss_peer)]
    except ValueError as error:
        parser.error(f"--peer: {error}")
    checkNames(parser, arguments.without, [peer.name for peer in peers])
    peers = [peer for peer in peers if peer.name not in arguments.without]
    names = [OURS, *(peer.name for peer in peers)]
    seconds, rounds = (0.5, 1) if arguments.quick else (arguments.seconds, arguments.rounds)
    bench = Bench(workshop, seconds, rounds)
    results: list[dict[str, Any]] = []
    for scenario in SCENARIOS:
        if not arguments.only or any(text in scenario.name for text in arguments.only):
            print(f"{scenario.name} …", file=sys.stderr)
            results += _measure(bench, scenario, peers)
    print(table(results, names))
    run = {"machine": machine(), "seconds": seconds, "rounds": rounds, "proxies": names, "results": results}
    workshop.results.write_text(json.dumps(run, indent=1) + "\n")
    workshop.draw("benchmarks.plot", workshop.results, workshop.picture)


if __name__ == "__main__":
    runToTheEnd(main)
