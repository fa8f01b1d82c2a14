"""The skeleton of an object as a graph: branches of pixels between tips and junctions, without spurs."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (n, 2), row and column; the centre of the first pixel is (0, 0)

SPUR = 1.5  # of the distance to the border at its junction: a branch that is not longer is a corner of the outline
ROUNDS = 8  # in which spurs are removed; each may leave new ones
STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, -1), (-1, 1))  # to neighbours, first along the sides


class Branch(NamedTuple):
    """Pixels (n, 2) from one node to another, both included; a ring begins and ends at the same pixel."""

    points: Points
    start: int
    end: int

    @property
    def length(self) -> float:
        return float(np.hypot(*np.diff(self.points, axis=0).T).sum())


class Node(NamedTuple):
    """A tip, a junction, or several junctions that are one: its pixels (n, 2), and their largest distance to the
    object's border."""

    pixels: Points
    border: float = 0.0

    @property
    def place(self) -> Points:
        """Its middle (2,)."""
        middle: Points = self.pixels.mean(0)
        return middle

    @property
    def spread(self) -> float:
        """The diagonal of the box around its pixels."""
        return float(np.hypot(*np.ptp(self.pixels, axis=0)))

    @property
    def reach(self) -> float:
        """How far from its middle it ends."""
        return self.border + self.spread / 2

    @property
    def thickness(self) -> float:
        """Of the object there, and a pixel at each end, to which a skeleton is exact."""
        return 2 * self.border + 2

    def joined(self, other: "Node") -> "Node":
        return Node(np.concatenate([self.pixels, other.pixels]), max(self.border, other.border))


@dataclass
class Skeleton:
    """Branches, and the nodes that they lead to by number."""

    branches: list[Branch] = field(default_factory=list)
    nodes: dict[int, Node] = field(default_factory=dict)

    def degrees(self) -> dict[int, int]:
        """How many branches end at each node."""
        count: dict[int, int] = defaultdict(int)
        for branch in self.branches:
            count[branch.start] += 1
            count[branch.end] += 1
        return count


def find_skeleton(mask: NDArray[np.bool_]) -> tuple[Skeleton, NDArray[np.float32]]:
    """The skeleton of one object (H, W), and the distance of each pixel's centre to the object's border (H, W).

    Thinned as by Zhang and Suen (1984). Spurs, which corners of the outline cause, are removed, and junctions that lie
    within the object's thickness of each other are one: two wide cracks that cross meet in one point.
    """
    from skimage.morphology import skeletonize  # here, since prediction without measurements can do without it

    padded = np.pad(mask, 1)
    to_outside = cv2.distanceTransform(padded.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance = to_outside[1:-1, 1:-1].astype(np.float32, copy=False)
    distance -= np.float32(0.5)
    skeleton = trace(skeletonize(padded)[1:-1, 1:-1])  # type: ignore[no-untyped-call]
    for number, node in skeleton.nodes.items():
        row, column = node.pixels[0].astype(int)
        skeleton.nodes[number] = node._replace(border=float(distance[row, column]))
    remove_spurs(skeleton)
    join_junctions(skeleton)
    merge_passages(skeleton)
    return skeleton, distance


def trace(thin: NDArray[np.bool_]) -> Skeleton:
    """The graph of a skeleton one pixel wide (H, W). Its nodes are the pixels that do not have two neighbours; pixels
    touch at a corner only if no third one joins them."""
    pixels = np.argwhere(thin)
    number = {(int(row), int(column)): at for at, (row, column) in enumerate(pixels)}
    neighbours = [find_neighbours(number, int(row), int(column)) for row, column in pixels]
    nodes = [at for at, near in enumerate(neighbours) if len(near) != 2]
    skeleton = Skeleton()
    walked: set[tuple[int, int]] = set()  # steps from one pixel to the next
    seen = np.zeros(len(pixels), bool)

    def walk(start: int, first: int) -> None:
        way = [start, first]
        while len(neighbours[way[-1]]) == 2 and way[-1] != start:
            one, other = neighbours[way[-1]]
            way.append(other if one == way[-2] else one)
        walked.update([(way[0], way[1]), (way[-1], way[-2])])
        seen[way] = True
        skeleton.branches.append(Branch(pixels[way].astype(np.float64), start, way[-1]))
        for node in (start, way[-1]):
            skeleton.nodes[node] = Node(pixels[node, None].astype(np.float64))

    for node in nodes:
        seen[node] = True
        skeleton.nodes[node] = Node(pixels[node, None].astype(np.float64))
        for first in neighbours[node]:
            if (node, first) not in walked:
                walk(node, first)
    for at in range(len(pixels)):  # what is left are rings
        if not seen[at]:
            walk(at, neighbours[at][0])
    return skeleton


def find_neighbours(number: dict[tuple[int, int], int], row: int, column: int) -> list[int]:
    near = []
    for down, right in STEPS:
        at = number.get((row + down, column + right))
        bent = down and right and ((row + down, column) in number or (row, column + right) in number)
        if at is not None and not bent:
            near.append(at)
    return near


def remove_spurs(skeleton: Skeleton) -> None:
    """Remove the branches from a junction to a tip that hardly leave the object's thickness. All of a junction go at
    once, so that a blunt end does not keep the way into one of its corners; if nothing else is there, the two longest
    stay."""
    for _ in range(ROUNDS):
        degrees = skeleton.degrees()
        spurs: dict[int, list[Branch]] = defaultdict(list)
        for branch in skeleton.branches:
            tip, junction = (branch.start, branch.end) if degrees[branch.start] == 1 else (branch.end, branch.start)
            free = degrees[tip] == 1 and degrees[junction] > 2
            if free and branch.length <= SPUR * skeleton.nodes[junction].border + 1:
                spurs[junction].append(branch)
        for junction, found in spurs.items():
            if len(found) == degrees[junction]:
                spurs[junction] = sorted(found, key=lambda branch: branch.length)[:-2]
        gone = {id(branch) for found in spurs.values() for branch in found}
        if not gone:
            return
        skeleton.branches = [branch for branch in skeleton.branches if id(branch) not in gone]
        merge_passages(skeleton)


def join_junctions(skeleton: Skeleton) -> None:
    """Make one junction of those with less between them than the object's thickness there, the nearest first; all that
    become one lie within that thickness. What then leads from a junction back to it, and is as short, goes too."""
    degrees = skeleton.degrees()
    owner = {node: node for node in skeleton.nodes}

    def find(node: int) -> int:
        while owner[node] != node:
            node = owner[node]
        return node

    gone: set[int] = set()
    for branch in sorted(skeleton.branches, key=lambda branch: branch.length):
        if min(degrees[branch.start], degrees[branch.end]) < 3:
            continue
        one, other = find(branch.start), find(branch.end)
        both = skeleton.nodes[one].joined(skeleton.nodes[other])
        if branch.length <= both.thickness and both.spread <= both.thickness:
            gone.add(id(branch))
            skeleton.nodes[one], owner[other] = (both, one) if one != other else (skeleton.nodes[one], one)
    left = [branch for branch in skeleton.branches if id(branch) not in gone]
    skeleton.branches = [branch._replace(start=find(branch.start), end=find(branch.end)) for branch in left]
    skeleton.nodes = {node: one for node, one in skeleton.nodes.items() if owner[node] == node}


def merge_passages(skeleton: Skeleton) -> None:
    """Make one branch of two that meet at a node without a third."""
    at: dict[int, list[Branch]] = defaultdict(list)
    for branch in skeleton.branches:
        at[branch.start].append(branch)
        at[branch.end].append(branch)
    for node in list(at):
        if len(at[node]) != 2 or at[node][0] is at[node][1]:
            continue
        one, other = at[node]
        first = one if one.end == node else turned(one)
        second = other if other.start == node else turned(other)
        joined = Branch(np.concatenate([first.points, second.points[1:]]), first.start, second.end)
        for end, old in ((joined.start, one), (joined.end, other)):
            at[end] = [joined if branch is old else branch for branch in at[end]]
        del at[node]
    skeleton.branches = list({id(branch): branch for found in at.values() for branch in found}.values())
    for node in skeleton.nodes.keys() - at.keys():
        del skeleton.nodes[node]


def turned(branch: Branch) -> Branch:
    return Branch(branch.points[::-1], branch.end, branch.start)
