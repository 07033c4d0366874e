"""The documents as a tree of folders and files; branches are filled when they are opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rich.text import Text
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from edge_index.records import Document, Failure
from edge_tui.rendering.document_tree import Folder, counts, line, tree
from edge_tui.rendering.sources import Staleness
from edge_tui.terminal import visible_name

_MOST = 1000
"""Files of one folder that are shown: more cannot be looked through by hand."""

_SMALL = 200
"""So many documents are opened to the last branch."""


@dataclass(frozen=True, slots=True)
class Failures:
    """The branch of what could not be read."""

    all: tuple[Failure, ...]


Branch: TypeAlias = Folder | Document | Failures | Failure | None


class DocumentTree(Tree[Branch]):
    def __init__(self) -> None:
        super().__init__("", None)
        self.show_root = False
        self.guide_depth = 3
        self._stale: Mapping[str, Staleness] = {}

    def show(
        self, documents: Sequence[Document], stale: Mapping[str, Staleness], failed: Sequence[Failure] = ()
    ) -> None:
        """Draw these; what was open stays open, and the cursor on its row."""
        opened = {_key(node.data) for node in self._nodes_below(self.root) if node.is_expanded}
        row = self.cursor_line
        self._stale = stale
        self.clear()
        for folder in tree(documents):
            self._folder(self.root, folder, opened, all_open=len(documents) <= _SMALL)
        if failed:
            label = Text(f"Could not be read the last time ({len(failed):,})", style="bold")
            branch = self.root.add(label, Failures(tuple(failed)))
            if len(failed) <= _SMALL or _key(branch.data) in opened:
                branch.expand()
        self.root.expand()
        if self.last_line >= 0:
            self.call_after_refresh(self._to_row, max(0, min(row, self.last_line)))

    def _to_row(self, row: int) -> None:
        self.cursor_line = min(row, self.last_line)

    @property
    def chosen(self) -> Branch:
        """What the cursor stands on."""
        return self.cursor_node.data if self.cursor_node is not None else None

    def on_tree_node_expanded(self, event: Tree.NodeExpanded[Branch]) -> None:
        self._fill(event.node, set(), all_open=False)

    def _folder(self, above: TreeNode[Branch], folder: Folder, opened: set[str], *, all_open: bool) -> None:
        numbers = counts(folder.documents(), self._stale)
        label = Text.assemble((folder.name, "bold"), (f"  {numbers}", self._shade("text-muted")))
        node = above.add(label, folder)
        if all_open or above.is_root or folder.path in opened:
            self._fill(node, opened, all_open=all_open)
            node.expand()

    def _fill(self, node: TreeNode[Branch], opened: set[str], *, all_open: bool) -> None:
        """Add what lies below a branch, once."""
        if node.children:
            return
        if isinstance(node.data, Failures):
            for failure in node.data.all[:_MOST]:
                node.add_leaf(_failure(failure), failure)
            _rest(node, len(node.data.all))
        elif isinstance(node.data, Folder):
            for folder in node.data.folders:
                self._folder(node, folder, opened, all_open=all_open)
            for document in node.data.files[:_MOST]:
                name, numbers, state = line(document, self._stale)
                mark = (f"  {state}", f"bold {self._shade('text-warning')}") if state else ""
                node.add_leaf(Text.assemble(name, (f"  {numbers}", self._shade("text-muted")), mark), document)
            _rest(node, len(node.data.files))

    def _shade(self, name: str) -> str:
        """A colour of the theme as Rich knows them; none where the theme leaves it to the terminal."""
        colour = self.app.theme_variables.get(name, "")
        return colour if colour.startswith("#") else ""

    def _nodes_below(self, node: TreeNode[Branch]) -> list[TreeNode[Branch]]:
        return [each for child in node.children for each in (child, *self._nodes_below(child))]


def _key(data: Branch) -> str:
    return data.path if isinstance(data, Folder) else "\0failures" if isinstance(data, Failures) else ""


def _rest(node: TreeNode[Branch], count: int) -> None:
    if count > _MOST:
        node.add_leaf(Text(f"and {count - _MOST:,} more; /remove and /reread take them by path", style="dim"), None)


def _failure(failure: Failure) -> Text:
    reason = failure.reason if failure.path in failure.reason else f"{failure.path}: {failure.reason}"
    return Text(visible_name(reason).replace("\n", " "))
