"""The one exception that is shown to a person instead of raised at them."""


class InputError(ValueError):
    """A mistake the user can mend.

    Its message is one sentence that says what is wrong, what was expected and what to do. The
    command line prints it and exits with 2; the terminal app shows it as a notification. Every
    other exception is a bug and keeps its traceback.
    """


NO_VISUAL_C = (
    "a library does not load: onnxruntime and PyTorch need Microsoft's Visual C++ runtime, which "
    "this Windows probably lacks, or has too old: https://aka.ms/vs/17/release/vc_redist.x64.exe"
)
"""Where Python says "DLL load failed"."""
