"""Keys that act on what is typed, in the order in which they were pressed."""

from textual import events
from textual.widget import Widget
from textual.widgets import Input


async def act_at_once(widget: Widget, event: events.Key) -> bool:
    """Do at once what the widget's own bindings say of a key; False: none does.

    A character is typed when the widget hears of it; a binding is looked for when the key has gone
    through all around the widget, up to the app. Of keys that come together, over a slow line or
    while the app is busy, letters would overtake Backspace, and Enter would send those after it.

    Args:
        widget: has the focus.
        event: what it hears of, before anybody else.
    """
    if widget.check_consume_key(event.key, event.character):
        return False
    # for both Textual has no public name; the second is the user's own keys
    own = widget._bindings.copy()
    own.apply_keymap(widget.app._keymap)
    for binding in own.key_to_bindings.get(event.key, ()):
        if not binding.priority and await widget.app.run_action(binding.action, widget):
            event.stop()
            return True
    return False


class Line(Input):
    """Textual's line, with its keys in order; it stays one, whatever is pasted."""

    def action_paste(self) -> None:
        """Take the first line of what was copied in the app, as of what the terminal pastes."""
        first, *_ = [*self.app.clipboard.splitlines(), ""]
        self.replace(first, *self.selection)

    async def _on_key(self, event: events.Key) -> None:
        if await act_at_once(self, event):
            self._restart_blink()
            event.prevent_default()
