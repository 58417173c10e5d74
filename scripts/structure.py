"""Print the structure of the package: files, rooms, floors, arrows between rooms, and circles.

    python scripts/structure.py [CHECKOUT] [--rooms] [--svg FILE]

A room is a folder of `tui_router`; a module that lies loose at the top is a room of its own. An arrow is an import from one
room into another, at any depth of the code; imports for the type checker alone do not count. A room's floor is the longest
way down from it. A circle is a group of files that import each other.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def modules(package: Path) -> dict[str, Path]:
    """Return module name -> file, `_assets` left out."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        if "_assets" not in parts:
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Yield the names that a file imports when it runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_graph(package: Path) -> dict[str, set[str]]:
    """Return module -> the modules of the package that it imports."""
    names = modules(package)
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        graph[name] = set()
        for full in imported(path):
            target = full if full in names else full.rpartition(".")[0]
            if target in names and target not in (name, package.name):
                graph[name].add(target)
    return graph


def room_of(name: str, names: dict[str, Path]) -> str:
    """Return the room of a module: its folder, or itself when it lies loose at the top."""
    path = names[name]
    parts = name.split(".")[1:]
    if path.name != "__init__.py" and len(parts) > 1:
        parts = parts[:-1]
    return ".".join(parts)


def room_graph(package: Path) -> dict[str, set[str]]:
    """Return room -> the rooms that it imports."""
    names, graph = modules(package), file_graph(package)
    rooms: dict[str, set[str]] = {}
    for name, targets in graph.items():
        room = room_of(name, names)
        if room:
            rooms.setdefault(room, set()).update(room_of(t, names) for t in targets)
    return {room: {t for t in targets if t and t != room} for room, targets in rooms.items()}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other (Tarjan 1972: strongly connected components of more than one)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def floors(graph: dict[str, set[str]]) -> dict[str, int]:
    """Return room -> the length of the longest way down; rooms of one circle stand on one floor."""
    group = {room: "+".join(members) for members in circles(graph) for room in members}
    name = {room: group.get(room, room) for room in graph}
    below: dict[str, set[str]] = {}
    for room, targets in graph.items():
        below.setdefault(name[room], set()).update(name.get(t, t) for t in targets)
    height: dict[str, int] = {}

    def of(room: str) -> int:
        if room not in height:
            height[room] = 0
            height[room] = max((of(t) + 1 for t in below.get(room, ()) if t != room), default=0)
        return height[room]

    return {room: of(name[room]) for room in graph}


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the graph without the arrows that a longer way implies (transitive reduction; circles keep theirs)."""

    def reachable(node: str, seen: set[str]) -> set[str]:
        for target in graph.get(node, set()) - seen:
            seen.add(target)
            reachable(target, seen)
        return seen

    below = {room: reachable(room, set()) for room in graph}
    return {
        room: {t for t in targets if not any(t in below[other] and room not in below[other] for other in targets - {t})}
        for room, targets in graph.items()
    }


def svg(rooms: dict[str, set[str]], heights: dict[str, int]) -> str:
    """Return a picture: a row a floor, the lowest at the bottom; arrows that a longer way implies are left out."""
    by_floor: dict[int, list[str]] = {}
    for room in sorted(rooms):
        by_floor.setdefault(heights[room], []).append(room)
    width, row, box = 1100, 86, (150, 34)
    height = row * len(by_floor) + 20
    place: dict[str, tuple[float, float]] = {}
    for floor, names in by_floor.items():
        step = width / len(names)
        for i, room in enumerate(names):
            place[room] = (step * (i + 0.5), height - 50 - row * floor)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#789"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for room, targets in sorted(reduced(rooms).items()):
        x, y = place[room]
        for target in sorted(targets):
            tx, ty = place[target]
            parts.append(
                f'<line x1="{x:.0f}" y1="{y + box[1] / 2:.0f}" x2="{tx:.0f}" y2="{ty - box[1] / 2:.0f}" '
                'stroke="#9ab" marker-end="url(#a)"/>'
            )
    for room, (x, y) in sorted(place.items()):
        parts.append(
            f'<rect x="{x - box[0] / 2:.0f}" y="{y - box[1] / 2:.0f}" width="{box[0]}" height="{box[1]}" rx="6" '
            f'fill="#eef3f8" stroke="#567"/><text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle">{room}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", nargs="?", type=Path, default=ROOT)
    parser.add_argument("--rooms", action="store_true", help="print each room with its floor, files and arrows")
    parser.add_argument("--svg", type=Path, help="draw the rooms into this file")
    args = parser.parse_args()
    package = args.checkout / "tui_router"
    names, files, rooms = modules(package), file_graph(package), room_graph(package)
    heights = floors(rooms)
    if args.svg:
        args.svg.write_text(svg(rooms, heights), encoding="utf-8")
    if args.rooms:
        for room in sorted(rooms, key=lambda r: (heights[r], r)):
            count = sum(room_of(name, names) == room for name in names)
            print(f"{heights[room]:2} {room:22} {count:3} files -> {', '.join(sorted(rooms[room])) or '-'}")
    print(
        f"{len(names)} files, {len(rooms)} rooms on {max(heights.values()) + 1} floors, "
        f"{sum(map(len, rooms.values()))} arrows, {len(circles(rooms))} circles of rooms, {len(circles(files))} of files"
    )
    for group in circles(files):
        print("circle:", " ".join(name.removeprefix("tui_router.") for name in group))


if __name__ == "__main__":
    main()
