"""The browser view: what the page is told is what the node said; nobody looking costs nothing."""

from __future__ import annotations

import http.client
import json
import struct
import threading
import time
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip("rclpy", reason="needs ROS 2: source env.sh")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from tests.perception.chromium import Browser, find_chromium  # noqa: E402
from tests.perception.websocket import WebSocket  # noqa: E402
from videocups_msgs.msg import PanopticFrame, PanopticSegment  # noqa: E402

from videocups_core.standin import standin_classes  # noqa: E402
from videocups_perception import web_page  # noqa: E402
from videocups_perception.message_definitions import full_definition  # noqa: E402
from videocups_perception.web_view import WebView  # noqa: E402


@pytest.fixture
def view(make_rig, spinner):
    """A running node and a view of it on free ports."""
    rig = make_rig()
    rig.listen_to_results()
    settings = {"http_port": 0, "foxglove_port": 0}
    overrides = [Parameter(name, value=value) for name, value in settings.items()]
    web = spinner(lambda context: WebView(context=context, parameter_overrides=overrides)).node
    rig.start()
    yield rig, web
    web.stop_work()


def feed(rig, stop):
    """Send the world's frames at about 20 Hz until told to stop."""
    index = 0
    while not stop.wait(0.05):
        rig.send(rig.image(index))
        index += 1


@pytest.fixture
def fed_view(view):
    rig, web = view
    stop = threading.Event()
    sender = threading.Thread(target=feed, args=(rig, stop))
    sender.start()
    yield rig, web
    stop.set()
    sender.join()


@contextmanager
def viewer(web):
    """Watch the page's event stream; gives an iterator of states."""
    connection = http.client.HTTPConnection("127.0.0.1", web._page.port, timeout=10)
    connection.request("GET", "/events")
    response = connection.getresponse()
    assert response.headers["Content-Type"] == "text/event-stream"
    try:
        yield (json.loads(line[6:]) for line in response if line.startswith(b"data: "))
    finally:
        response.close()
        connection.close()


def get(web, path):
    """Return status and body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", web._page.port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def test_the_page_is_told_what_the_node_said(view):
    rig, web = view
    with viewer(web) as states:
        rig.wait(lambda: rig.node.count_subscribers("/vps/panoptic/segments") > 1)
        rig.wait(lambda: web._names)  # the latched labels have arrived
        told = []
        for index in range(5):
            said, _ = rig.exchange(rig.image(index))
            told.append((said, next(state for state in states if state.get("frame") == said.frame_index)))
    names = {info.class_id: info.name for info in standin_classes()}
    for said, state in told:
        things = {str(segment.track_id): segment for segment in said.segments if segment.is_thing}
        rows = {row["track"]: row for row in state["tracks"]}
        assert rows.keys() == things.keys()
        assert things
        for track, segment in things.items():
            row = rows[track]
            assert (row["class"], row["area_px"], row["age"]) == (names[segment.class_id], segment.area_px, segment.age)
        assert state["size"] == [said.width, said.height]
        assert 0 < state["latency_ms"] < 5000


def test_stamps_of_another_clock_are_no_latency(view):
    """A replayed recording without use_sim_time: its age in years says nothing."""
    rig, web = view
    with viewer(web) as states:
        rig.wait(lambda: rig.node.count_subscribers("/vps/panoptic/segments") > 1)
        said, _ = rig.exchange(rig.image(0, 1_650_000_000_000_000_000))
        state = next(state for state in states if state.get("frame") == said.frame_index)
    assert state["latency_ms"] is None


def test_nobody_looking_costs_nothing(view):
    rig, web = view
    assert rig.node.count_subscribers("/vps/overlay/image") == 0
    with viewer(web):
        rig.wait(lambda: rig.node.count_subscribers("/vps/overlay/image") == 1)
    rig.wait(lambda: rig.node.count_subscribers("/vps/overlay/image") == 0)


def test_before_a_replay_begins_the_page_hears_what_there_is(spinner):
    """With use_sim_time and no /clock yet."""
    settings = {"http_port": 0, "foxglove_port": -1, "use_sim_time": True}
    overrides = [Parameter(name, value=value) for name, value in settings.items()]
    web = spinner(lambda context: WebView(context=context, parameter_overrides=overrides)).node
    with viewer(web):
        deadline_s = time.monotonic() + 10
        while web.count_subscribers("/diagnostics") == 0:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    web.stop_work()


def test_the_picture_is_the_overlay(fed_view):
    rig, web = fed_view
    rig.listen("/vps/overlay/image", Image)
    with viewer(web):
        rig.wait(lambda: web._picture.after(0, 0.0)[1] is not None)
        rig.wait(lambda: rig.received["/vps/overlay/image"])
        _, jpeg = get(web, "/overlay.jpg")
    picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    overlays = [
        np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        for _, message in list(rig.received["/vps/overlay/image"])
    ]
    assert min(np.abs(overlay.astype(int) - picture).mean() for overlay in overlays) < 4  # grey levels lost to JPEG


def test_broken_messages_do_not_end_the_view(view):
    rig, web = view
    segments = rig.observer.create_publisher(PanopticFrame, "/vps/panoptic/segments", 10)
    overlay = rig.observer.create_publisher(Image, "/vps/overlay/image", 10)
    foreign = PanopticFrame(segments=[PanopticSegment(is_thing=True, state=99)])
    with viewer(web) as states:
        rig.wait(lambda: segments.get_subscription_count() > 1 and overlay.get_subscription_count() > 0)
        segments.publish(b"\x00\x01\x00\x00junk")
        segments.publish(foreign)
        broken = Image(encoding="rgb8", height=9, width=9, step=1)
        while web._picture.after(0, 0.5)[1] is None:  # best effort: the first may come before both ends are ready
            overlay.publish(broken)
        assert get(web, "/overlay.jpg")[0] == 500
        for index in range(50):  # only a good frame brings a stamp
            rig.send(rig.image(index))
            if "stamp" in next(states):
                break
        else:
            raise AssertionError("the view shows nothing any more")


def test_the_diagnostics_are_those_of_the_node_it_shows(spinner):
    settings = {"http_port": 0, "foxglove_port": -1, "node": "/front/vps"}
    overrides = [Parameter(name, value=value) for name, value in settings.items()]
    web = spinner(lambda context: WebView(context=context, parameter_overrides=overrides)).node
    for names in (["front/vps: image", "motor: heat"], ["rear/vps: image"], ["vps: image"], ["front/vps2: image"]):
        array = DiagnosticArray(status=[DiagnosticStatus(name=name) for name in names])
        web._on_diagnostics(serialize_message(array))
        _, state = web._state.after(0, 0.0)
        assert [row["name"] for row in state["diagnostics"]] == ["front/vps: image"]
    web.stop_work()


def test_a_viewer_that_vanishes_leaves_no_thread(tmp_path, monkeypatch):
    """A browser keeps its connection for the next request; one that is out of reach will never close it."""
    monkeypatch.setattr(web_page, "SILENT_CONNECTION_S", 0.2)
    (tmp_path / "view.css").write_text("")
    page = web_page.WebPage(tmp_path, "127.0.0.1", 0, web_page.LatestValue(), web_page.LatestValue(), bytes)
    threads = threading.active_count()
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    connection.request("GET", "/view.css")
    assert connection.getresponse().read() == b""
    assert threading.active_count() == threads + 1
    deadline_s = time.monotonic() + 10
    while threading.active_count() > threads:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    connection.close()
    page.close()


def test_who_comes_late_is_told_how_old_the_last_frame_is(spinner):
    overrides = [Parameter("http_port", value=0), Parameter("foxglove_port", value=-1)]
    web = spinner(lambda context: WebView(context=context, parameter_overrides=overrides)).node
    web._on_segments(serialize_message(PanopticFrame(frame_index=7)))
    time.sleep(0.5)
    web._on_diagnostics(serialize_message(DiagnosticArray(status=[DiagnosticStatus(name="vps: image")])))
    with viewer(web) as states:
        state = next(states)
    assert (state["frame"], [row["name"] for row in state["diagnostics"]]) == (7, ["vps: image"])
    assert state["sent_s"] - state["arrived_s"] >= 0.5
    web.stop_work()


def test_only_the_pages_own_files_are_served(view):
    _, web = view
    paths = ("/", "/view.css", "/view.js", "/../package.xml", "/nothing", "/overlay.jpg")
    assert [get(web, path)[0] for path in paths] == [200, 200, 200, 404, 404, 404]


def test_foxglove_gets_the_messages_unchanged(view):
    rig, web = view
    client = WebSocket(web._relay.port, "foxglove.sdk.v1")
    channels = {}
    while "/vps/panoptic/image" not in channels:
        message = client.receive()
        if isinstance(message, dict) and message["op"] == "advertise":
            channels |= {channel["topic"]: channel for channel in message["channels"]}
    channel = channels["/vps/panoptic/image"]
    assert (channel["encoding"], channel["schemaName"]) == ("cdr", "sensor_msgs/msg/Image")
    assert channel["schema"] == full_definition("sensor_msgs/msg/Image")
    client.send_json({"op": "subscribe", "subscriptions": [{"id": 7, "channelId": channel["id"]}]})
    rig.wait(lambda: rig.node.count_subscribers("/vps/panoptic/image") == 2)
    relayed, answers = None, []
    while not isinstance(relayed, bytes):  # best effort: the first may come before both ends are ready
        assert len(answers) < 10
        answers.append(rig.exchange(rig.image(len(answers)))[1])
        while not isinstance(relayed, bytes) and client.has_message(1.0):
            relayed = client.receive()
    client.close()
    opcode, subscription, _ = struct.unpack("<BIQ", relayed[:13])
    assert (opcode, subscription) == (1, 7)
    assert deserialize_message(relayed[13:], Image) in answers  # CDR padding may hold anything


def test_a_taken_port_is_named_with_its_remedy(view, spinner):
    _, web = view
    overrides = [Parameter("http_port", value=web._page.port), Parameter("foxglove_port", value=-1)]
    with pytest.raises(OSError, match=r"cannot serve the web page at 127\.0\.0\.1:\d+ .*http_port"):
        spinner(lambda context: WebView(context=context, parameter_overrides=overrides))


@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium: apt install chromium")
def test_the_page_in_a_browser(fed_view, tmp_path):
    rig, web = fed_view
    browser = Browser(find_chromium(), tmp_path / "profile")
    try:
        browser.open(f"http://127.0.0.1:{web._page.port}/")
        browser.wait("document.getElementById('status').textContent === 'live'")
        assert browser.wait("document.getElementById('overlay').naturalWidth") == rig.world.image_rgb(0).shape[1]
        shown = "[...document.querySelectorAll('#track-rows tr')].map(row => row.cells[2].textContent)"
        browser.wait(f"{shown}.length && {shown}.every(name => !name.startsWith('class '))")  # the labels have come
        rows = browser.wait(shown)
        assert set(rows) <= {info.name for info in standin_classes() if info.is_thing}
        browser.wait("Number(document.getElementById('rate').textContent) > 0")  # how much is the machine's affair
        assert browser.wait("document.querySelectorAll('#diagnostic-rows details').length") >= 2
        browser.screenshot(tmp_path / "page.png")
        rig.on_node(rig.node.trigger_deactivate)
        browser.wait("document.getElementById('status').textContent.startsWith('silent')")
    finally:
        browser.close()


def test_definitions_parse_back_to_every_type_once():
    get_types = pytest.importorskip("rosbags.typesys").get_types_from_msg
    parsed = get_types(full_definition("videocups_msgs/msg/PanopticFrame"), "videocups_msgs/msg/PanopticFrame")
    assert sorted(parsed) == [
        "builtin_interfaces/msg/Time", "sensor_msgs/msg/RegionOfInterest", "std_msgs/msg/Header",
        "videocups_msgs/msg/PanopticFrame", "videocups_msgs/msg/PanopticSegment",
    ]  # fmt: skip
