"""`only_fields`: which parts of a document are shown."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from stepwise_server.errors import ApiError, invalid
from stepwise_server.store.entities import Document, Entity
from stepwise_server.store.query.fields import INTERNAL, known
from stepwise_server.store.query.paths import Path, split

_DEEPEST = 12


@dataclass(slots=True)
class Node:
    """What is wanted at a place of a document.

    Attributes:
        whole: everything that is stored there.
        star: everything of the entity that is referred to there, too.
        children: what is wanted below, by key.
    """

    whole: bool = False
    star: bool = False
    children: dict[str, "Node"] = field(default_factory=dict)

    def at(self, path: Path) -> "Node":
        """Return what is wanted at a place below; nothing in particular if nobody asked."""
        node = self
        for key in path:
            node = node.children.get(key, NOTHING)
        return node


NOTHING = Node()


@dataclass(frozen=True, slots=True)
class Projection:
    """Which parts of a document are shown.

    Attributes:
        node: the parts; its `whole` means all that is not internal.
        excluded: paths that are left out again.
    """

    node: Node
    excluded: tuple[Path, ...] = ()

    def wants(self, name: str) -> bool:
        """Tell whether a field is shown, or a part of it."""
        if (name,) in self.excluded:
            return False
        return name in self.node.children or (self.node.whole and name not in INTERNAL)


EVERYTHING = Projection(Node(whole=True))


def parse(entity: Entity, only_fields: Any) -> Projection:
    """Read a list of fields: `a`, `a.b`, `a.*`, `*`, `-a`. None and the empty list mean everything.

    Raises:
        ApiError: 400/14 if the entity has no such field, 400/12 if it is no list of names.
    """
    names = [only_fields] if isinstance(only_fields, str) else only_fields or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise invalid("only_fields is a list of names", value=only_fields)
    fields, root, excluded = known(entity), Node(), []
    for name in names:
        path = split(name.removeprefix("-"))
        if len(path) > _DEEPEST:
            raise invalid(f"a field has at most {_DEEPEST} parts", field=name)
        if path[0] not in fields and path != ("*",):
            raise ApiError(400, 14, "Fields are not defined for object", fields=path[0], object=entity.name)
        if name.startswith("-"):
            excluded.append(path)
        else:
            _add(root, path)
    if not root.children:
        root.whole = True
    return Projection(root, tuple(excluded))


def _add(node: Node, path: Path) -> None:
    for key in path:
        if key == "*":
            node.star = True
            break
        node = node.children.setdefault(key, Node())
    node.whole = True


def apply(document: Document, projection: Projection, references: Collection[Path] = ()) -> Document:
    """Return the wanted parts of a document. A container on the way to a part stays, even if it is empty.

    Args:
        document: from the database, or any object.
        projection: the parts.
        references: paths where ids stand for entities; such an id stays where something below it is wanted.
    """
    shown: Document = {}
    for name, value in document.items():
        if projection.wants(name):
            node = projection.node.children.get(name)
            part = value if node is None or node.whole else _part(value, node, (name,), references)
            if part is not None:
                shown[name] = part
    if "id" in document:
        shown["id"] = document["id"]
    for path in projection.excluded:
        if path != ("id",):
            _without(shown, path)
    return shown


def _part(value: Any, node: Node, path: Path, references: Collection[Path]) -> Any:
    """Return the wanted parts of a value; None if it has no such parts."""
    if isinstance(value, list):
        parts = [_part(each, node, path, references) for each in value]
        return [part for part in parts if part is not None]
    if not isinstance(value, dict):
        return value if path in references else None
    shown = {}
    for key, child in node.children.items():
        if key in value:
            below = value[key] if child.whole else _part(value[key], child, (*path, key), references)
            if below is not None or child.whole:
                shown[key] = below
    return shown


def _without(document: Any, path: Path) -> None:
    """Take a part out of a document; what is on the way is copied, for it may belong to others."""
    if isinstance(document, dict) and path[0] in document:
        if len(path) == 1:
            del document[path[0]]
        elif isinstance(document[path[0]], dict):
            document[path[0]] = dict(document[path[0]])
            _without(document[path[0]], path[1:])
