"""What an empty conversation shows: who speaks with whom, and who may begin."""

from textual.content import Content
from textual.widgets import Static

from minigpt.runtime.chat import Roles
from minigpt.terminal import printable


class Talk(Static):
    """Stands where else the beginnings are: who speaks writes words of their own."""

    def __init__(self, begin: str, *, id: str) -> None:
        """Make the widget.

        Args:
            begin: the key that lets the model begin.
            id: of the widget.
        """
        super().__init__(id=id)
        self._begin = begin

    def invite(self, roles: Roles) -> None:
        """Tell who speaks."""
        me, you = printable(roles.me), printable(roles.you)
        if roles.named:
            who, other = f"You speak as {me}; {you} answers.", you
        else:
            who, other = "You write a paragraph; the model answers with one.", "it"
        begin = f"{self._begin} alone lets {other} begin."
        self.update(Content.assemble((who, "bold $primary"), f"\n\n{begin}"))
