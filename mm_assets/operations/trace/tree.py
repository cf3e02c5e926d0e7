"""A trace for people: a tree with a line for each thing; what is long is cut, the JSON has it whole."""

from collections.abc import Iterator, Sequence

from rich.text import Text
from rich.tree import Tree

from mm_assets.operations.trace.lines import line
from mm_assets.operations.trace.nodes import Found, Node

# Children of one node, and things found, that are shown.
MOST = 20


def trees(found: Sequence[Found]) -> Iterator[Tree | Text]:
    """A tree for each thing that was found."""
    for item in found[:MOST]:
        yield _tree(item)
    if len(found) > MOST:
        yield Text(f"... and {len(found) - MOST:,} more")


def _tree(item: Found) -> Tree:
    tree = Tree(_text(Node(item.kind, item.id, item.said)))
    for words, nodes in (("up: what it comes from", item.up), ("down: what used it", item.down)):
        if nodes:
            _add(tree.add(Text(words, style="bold")), nodes)
    return tree


def _add(branch: Tree, nodes: Sequence[Node]) -> None:
    for node in nodes[:MOST]:
        _add(branch.add(_text(node)), node.children)
    if len(nodes) > MOST:
        branch.add(Text(f"... and {len(nodes) - MOST:,} more"))


def _text(node: Node) -> Text:
    name, facts = line(node)
    return Text.assemble((name, "cyan"), f": {', '.join(facts)}" if facts else "")
