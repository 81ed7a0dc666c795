"""The one exception that is shown to a person instead of raised at them."""


class InputError(ValueError):
    """A mistake the user can mend.

    Its message is one sentence that says what is wrong, what was expected and what to do. The
    command line prints it and exits with 2; the terminal app shows it as a notification. Every
    other exception is a bug and keeps its traceback.
    """
