"""Listen to a running node's diagnostics and, when stopped, say in a few lines how it did."""

from __future__ import annotations

import argparse
import sys
from statistics import median
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from videocups_perception.node_process import run_node, split_arguments

Values = dict[str, str]


class SummaryNode(Node):
    """Keeps the latest figures of one node; rates and latencies only while it runs, counts to the end."""

    def __init__(self, name: str, **node_options: Any) -> None:
        super().__init__("summary", **node_options)
        self.exit_status: int | None = None
        self._name = name.strip("/")  # diagnostics name nodes without the first slash
        self._counts: Values = {}
        self._figures: Values = {}
        self._rates_hz: list[float] = []
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)

    def begin(self) -> None:
        """Nothing to start: it listens since construction."""

    def stop_work(self) -> bool:
        """Print the summary."""
        sys.stdout.write(summary(self._name, self._counts, self._figures) + "\n")
        sys.stdout.flush()
        return True

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if status.name == f"{self._name}: image":
                self._counts = values
            elif status.name == f"{self._name}: inference" and "latency_p50_ms" in values:
                self._rates_hz.append(float(values["output_rate_hz"]))
                # before, between and after recordings nothing flows; at their ends a second is only partly filled
                flowing = [rate_hz for rate_hz in self._rates_hz if rate_hz > 0] or [0.0]
                self._figures = values | {"output_rate_hz": f"{median(flowing):.1f}"}


def summary(name: str, counts: Values, figures: Values) -> str:
    """Return the lines; a node that was never heard of is said to be silent rather than shown as zeros."""
    if not counts:
        return f"{name}: no diagnostics came; is the node running?"
    dropped = {key.removeprefix("dropped_"): int(value) for key, value in counts.items() if key.startswith("dropped_")}
    causes = f" ({', '.join(f'{count} {cause}' for cause, count in dropped.items())})" if dropped else ""
    lines = [
        f"frames   {counts['received']} received, {counts['processed']} processed, "
        f"{sum(dropped.values())} dropped{causes}, {counts['lost_before_node']} lost before the node"
    ]
    if figures:
        lines += [
            f"rate     {figures['output_rate_hz']} frames/s",
            f"latency  p50 {figures['latency_p50_ms']} ms, p95 {figures['latency_p95_ms']} ms, received to published",
            f"model    {figures['model']} on {figures['device']}, {figures['precision']}",
        ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Listen until a signal, then print."""
    given, plain = split_arguments("summary_node", arguments)
    parser = argparse.ArgumentParser(prog="summary_node", description=__doc__)
    parser.add_argument("--node", default="vps", help="name of the node in its diagnostics (default: vps)")
    options = parser.parse_args(plain)
    return run_node(lambda: SummaryNode(options.node), given)


if __name__ == "__main__":
    sys.exit(main())
