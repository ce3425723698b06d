"""The classes of the rendered world."""

from __future__ import annotations

from enum import IntEnum

from videocups_core.types import ClassInfo


class WorldClass(IntEnum):
    """Class ids in ``class_map`` and on disk."""

    SKY = 0
    ROAD = 1
    LANE_LINE = 2
    CROSSWALK = 3
    TERRAIN = 4
    SIDEWALK = 5
    CAR = 6
    TRUCK = 7
    BUS = 8
    PEDESTRIAN = 9
    BICYCLE = 10
    TRAFFIC_LIGHT = 11
    TRAFFIC_SIGN = 12
    FENCE = 13
    VEGETATION = 14
    BUILDING = 15
    POLE = 16


THINGS = frozenset({WorldClass.CAR, WorldClass.TRUCK, WorldClass.BUS, WorldClass.PEDESTRIAN, WorldClass.BICYCLE})

_COLORS: dict[WorldClass, tuple[int, int, int]] = {
    WorldClass.SKY: (112, 168, 224),
    WorldClass.ROAD: (110, 80, 130),
    WorldClass.LANE_LINE: (236, 236, 236),
    WorldClass.CROSSWALK: (200, 160, 210),
    WorldClass.TERRAIN: (150, 205, 130),
    WorldClass.SIDEWALK: (222, 96, 190),
    WorldClass.CAR: (24, 60, 190),
    WorldClass.TRUCK: (10, 120, 150),
    WorldClass.BUS: (0, 70, 90),
    WorldClass.PEDESTRIAN: (220, 40, 60),
    WorldClass.BICYCLE: (150, 20, 40),
    WorldClass.TRAFFIC_LIGHT: (250, 170, 40),
    WorldClass.TRAFFIC_SIGN: (230, 225, 30),
    WorldClass.FENCE: (190, 150, 120),
    WorldClass.VEGETATION: (80, 130, 40),
    WorldClass.BUILDING: (90, 85, 80),
    WorldClass.POLE: (160, 160, 165),
}

CLASSES: tuple[ClassInfo, ...] = tuple(
    ClassInfo(int(member), member.name.lower(), member in THINGS, _COLORS[member]) for member in WorldClass
)
