"""The truth has to agree with itself: each part of it is recomputed here from the others."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from videocups.synthetic import World, WorldClass, WorldConfig, WorldFrame

MARKS = (WorldClass.LANE_LINE, WorldClass.CROSSWALK)


def grid(frame: WorldFrame) -> tuple[np.ndarray, np.ndarray]:
    height, width = frame.class_map.shape
    return np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))


def landing(frame: WorldFrame, flow: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = grid(frame)
    return (
        np.rint(y + flow[..., 1])[visible].astype(int),
        np.rint(x + flow[..., 0])[visible].astype(int),
    )


def merged(class_map: np.ndarray) -> np.ndarray:
    """Paint on the road is road: a mark a pixel wide cannot survive rounding to the nearest pixel."""
    return np.where(np.isin(class_map, MARKS), WorldClass.ROAD, class_map)


def static_flow(world: World, frame: WorldFrame, target_pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flow of a rigid world from depth, K and the two poses, in double precision."""
    k = world.camera.matrix()
    x, y = grid(frame)
    depth = frame.depth_m.astype(np.float64)
    points = np.stack([(x - k[0, 2]) / k[0, 0] * depth, (y - k[1, 2]) / k[1, 1] * depth, depth], axis=-1)
    move = np.linalg.inv(target_pose) @ frame.camera_to_world
    moved = points @ move[:3, :3].T + move[:3, 3]
    usable = (depth > 0) & (moved[..., 2] > 0.1)
    z = np.where(usable, moved[..., 2], 1.0)
    flow = np.stack([k[0, 0] * moved[..., 0] / z + k[0, 2] - x, k[1, 1] * moved[..., 1] / z + k[1, 2] - y], axis=-1)
    return flow, usable


@pytest.mark.parametrize("name", ["city", "suburb"])
def test_depth_and_pose_reproduce_the_flow_of_what_stands_still(name: str, request: pytest.FixtureRequest) -> None:
    world: World = request.getfixturevalue(name)
    frame = world.frame(30)
    for flow, target in ((frame.flow_fw_px, 31), (frame.flow_bw_px, 29)):
        expected, usable = static_flow(world, frame, world.camera_to_world(target))
        usable &= frame.track_map == 0
        error = np.linalg.norm(expected - flow, axis=-1)[usable]
        assert usable.mean() > 0.4
        assert error.max() < 0.05


def test_warping_by_flow_keeps_ids(city_frames: tuple[WorldFrame, ...]) -> None:
    before, frame, after = city_frames
    for flow, occluded, other in (
        (frame.flow_fw_px, frame.occluded_fw, after),
        (frame.flow_bw_px, frame.occluded_bw, before),
    ):
        visible = ~occluded
        rows, columns = landing(frame, flow, visible)
        assert visible.mean() > 0.5
        assert (frame.track_map[visible] == other.track_map[rows, columns]).mean() >= 0.999
        same_class = merged(frame.class_map)[visible] == merged(other.class_map)[rows, columns]
        assert same_class.mean() >= 0.995


def test_forward_and_backward_flow_cancel_out(city_frames: tuple[WorldFrame, ...]) -> None:
    _, frame, after = city_frames
    visible = ~frame.occluded_fw
    back_x, back_y = (
        cv2.remap(
            np.nan_to_num(after.flow_bw_px[..., axis]),
            *(
                np.nan_to_num(array).astype(np.float32)
                for array in np.add(grid(frame), np.moveaxis(frame.flow_fw_px, 2, 0))
            ),
            cv2.INTER_LINEAR,
        )
        for axis in (0, 1)
    )
    error = np.hypot(frame.flow_fw_px[..., 0] + back_x, frame.flow_fw_px[..., 1] + back_y)[visible]
    assert np.percentile(error, 90) < 0.05
    assert np.median(error) < 0.01


def test_visible_pixels_look_the_same_after_warping(city_frames: tuple[WorldFrame, ...]) -> None:
    _, frame, after = city_frames
    x, y = grid(frame)
    flow = np.nan_to_num(frame.flow_fw_px)
    warped = cv2.remap(
        after.rgb, (x + flow[..., 0]).astype(np.float32), (y + flow[..., 1]).astype(np.float32), cv2.INTER_LINEAR
    )
    visible = ~frame.occluded_fw & (frame.class_map != WorldClass.SKY)
    difference = np.abs(warped.astype(np.float64) - frame.rgb).mean(axis=-1)
    moved = np.linalg.norm(flow[visible], axis=-1).mean()
    unwarped = np.abs(after.rgb.astype(np.float64) - frame.rgb).mean(axis=-1)
    assert moved > 5.0
    assert difference[visible].mean() < 3.0
    assert difference[visible].mean() < 0.25 * unwarped[visible].mean()


def test_texture_moves_with_the_surface(city_frames: tuple[WorldFrame, ...]) -> None:
    """Away from outlines, what is left of the picture's contrast on the ground after warping is small."""
    _, frame, after = city_frames
    x, y = grid(frame)
    flow = np.nan_to_num(frame.flow_fw_px)
    warped = cv2.remap(
        after.rgb, (x + flow[..., 0]).astype(np.float32), (y + flow[..., 1]).astype(np.float32), cv2.INTER_CUBIC
    )
    wall = cv2.erode((frame.class_map == WorldClass.BUILDING).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    wall &= ~frame.occluded_fw
    contrast = frame.rgb[wall].astype(np.float64).std()
    assert wall.sum() > 5000
    assert np.abs(warped.astype(np.float64) - frame.rgb)[wall].mean() < 0.12 * contrast


def test_occlusion_is_what_the_depth_of_the_next_frame_says(city_frames: tuple[WorldFrame, ...]) -> None:
    """A point well behind what the next frame shows in its pixel is occluded, one at its depth is not."""
    _, frame, after = city_frames
    x, y = grid(frame)
    flow = np.nan_to_num(frame.flow_fw_px)
    column, row = np.rint(x + flow[..., 0]).astype(int), np.rint(y + flow[..., 1]).astype(int)
    height, width = frame.class_map.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & np.isfinite(frame.flow_fw_px[..., 0])
    assert frame.occluded_fw[~inside].all()
    static = inside & (frame.track_map == 0) & (frame.depth_m > 0)
    move = np.linalg.inv(after.camera_to_world) @ frame.camera_to_world
    ray = np.stack([(x - 255.5) / frame_focal(frame), (y - 127.5) / frame_focal(frame), np.ones_like(x)], axis=-1)
    depth = ((ray * frame.depth_m[..., None]) @ move[2, :3] + move[2, 3])[static]
    shown = after.depth_m[row[static], column[static]]
    # Towards the horizon one row of pixels spans more than these 20 %.
    hidden = (shown > 0) & (shown < 0.8 * depth) & (shown < 30.0)
    assert hidden.sum() > 100
    assert frame.occluded_fw[static][hidden].mean() > 0.99
    agrees = np.abs(shown - depth) < 0.004 * depth
    assert frame.occluded_fw[static][agrees].mean() < 0.01


def frame_focal(frame: WorldFrame) -> float:
    """The default field of view is 70 degrees."""
    return float(0.5 * frame.class_map.shape[1] / np.tan(np.radians(35.0)))


def test_vehicles_flow_as_one_rigid_body(suburb: World) -> None:
    """The flow of each moving vehicle is explained by one rigid motion of its points."""
    checked = 0
    k = suburb.camera.matrix()
    for index in (5, 20, 35):
        frame = suburb.frame(index)
        for track in frame.moving_tracks:
            mask = (frame.track_map == track) & ~frame.occluded_fw
            vehicle = np.isin(frame.class_map[mask], (WorldClass.CAR, WorldClass.TRUCK, WorldClass.BUS))
            if mask.sum() < 250 or not vehicle.all():
                continue
            y, x = np.nonzero(mask)
            z = frame.depth_m[mask].astype(np.float64)
            points = np.stack([(x - k[0, 2]) / k[0, 0] * z, (y - k[1, 2]) / k[1, 1] * z, z], axis=1)
            target = np.stack([x, y], axis=1) + frame.flow_fw_px[mask]
            _, turn, shift = cv2.solvePnP(points, target, k, None, flags=cv2.SOLVEPNP_ITERATIVE)
            seen, _ = cv2.projectPoints(points, turn, shift, k, None)
            assert np.abs(seen[:, 0] - target).max() < 0.05
            rigid, usable = static_flow(suburb, frame, suburb.camera_to_world(index + 1))
            assert usable[mask].all()
            assert np.linalg.norm(rigid - frame.flow_fw_px, axis=-1)[mask].max() > 0.3
            checked += 1
    assert checked >= 3


def test_legs_move_apart_from_the_body() -> None:
    """A walker seen from a standing camera: its pixels do not share one motion."""
    size = {"height": 256, "width": 1024, "horizontal_fov_deg": 70.0}
    config = WorldConfig(seed=6, num_frames=30, scenario="stand", camera_bob=False, pedestrian_density=2.0, **size)
    world = World(config)
    spread = []
    for index in range(0, 30, 6):
        frame = world.frame(index)
        for track in frame.moving_tracks:
            mask = (frame.track_map == track) & (frame.class_map == WorldClass.PEDESTRIAN)
            if mask.sum() > 250:
                rows = np.nonzero(mask)[0]
                flow = frame.flow_fw_px[mask][:, 0]
                low = rows > np.percentile(rows, 70)
                spread.append((flow[low].std(), flow[rows < np.percentile(rows, 40)].std()))
    assert len(spread) >= 3
    assert np.median([low for low, _ in spread]) > 2.0 * np.median([high for _, high in spread])


def test_stereo_disparity_is_focal_times_baseline_over_depth(suburb: World) -> None:
    frame = suburb.frame(10)
    assert frame.right_rgb is not None
    x, y = grid(frame)
    with np.errstate(divide="ignore"):
        disparity = np.where(frame.depth_m > 0, suburb.camera.fx * 0.5 / frame.depth_m, 0.0)

    def misfit(factor: float) -> float:
        warped = cv2.remap(
            frame.right_rgb, (x - factor * disparity).astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR
        )
        inside = (x - 1.1 * disparity > 0) & (disparity > 4.0)
        return float(np.median(np.abs(warped.astype(np.float64) - frame.rgb).mean(axis=-1)[inside]))

    assert misfit(1.0) < 2.0
    assert misfit(1.0) < 0.5 * min(misfit(0.93), misfit(1.07))


def test_depth_is_positive_outside_the_sky(city_frames: tuple[WorldFrame, ...]) -> None:
    for frame in city_frames:
        sky = frame.class_map == WorldClass.SKY
        assert (frame.depth_m[sky] == 0).all()
        assert (frame.depth_m[~sky] > 0.1).all()
        assert np.isfinite(frame.depth_m).all()
        assert np.isfinite(frame.flow_fw_px[~frame.occluded_fw]).all()


def test_the_sky_turns_but_does_not_come_nearer(city_frames: tuple[WorldFrame, ...], city: World) -> None:
    _, frame, after = city_frames
    k = city.camera.matrix()
    homography = k @ after.camera_to_world[:3, :3].T @ frame.camera_to_world[:3, :3] @ np.linalg.inv(k)
    x, y = grid(frame)
    far = np.stack([x, y, np.ones_like(x)], axis=-1) @ homography.T
    sky = frame.class_map == WorldClass.SKY
    expected = far[..., :2] / far[..., 2:] - np.stack([x, y], axis=-1)
    assert sky.sum() > 1000
    assert np.abs(expected - frame.flow_fw_px)[sky].max() < 0.01
