"""The summary says what the node's diagnostics said."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="needs ROS 2: source env.sh")

from videocups_perception.summary_node import SummaryNode, summary  # noqa: E402


@pytest.mark.parametrize("name", ["vps", "/vps"])
def test_a_running_node_is_summed_up(make_rig, spinner, capsys, name):
    rig = make_rig()
    rig.listen_to_results()
    listener = spinner(lambda context: SummaryNode(name, context=context)).node
    rig.start()
    for index in range(6):
        rig.exchange(rig.image(index))
    rig.wait(lambda: listener._counts.get("processed") == "6" and listener._figures)
    listener.stop_work()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "frames   6 received, 6 processed, 0 dropped, 0 lost before the node"
    assert [line.split()[0] for line in lines] == ["frames", "rate", "latency", "model"]
    assert lines[3].startswith("model    standin-256x512")
    assert lines[3].endswith(" on cpu, fp32")


def test_drops_are_named():
    counts = {
        "received": "9",
        "processed": "6",
        "lost_before_node": "1",
        "dropped_overrun": "2",
        "dropped_throttled": "1",
    }
    assert summary("vps", counts, {}) == (
        "frames   9 received, 6 processed, 3 dropped (2 overrun, 1 throttled), 1 lost before the node"
    )


def test_silence_is_not_zero():
    assert summary("vps", {}, {}) == "vps: no diagnostics came; is the node running?"
