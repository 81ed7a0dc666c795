import numpy as np
import pytest

from minigpt.runtime import onnx_session
from minigpt.runtime.library import load
from minigpt.runtime.onnx_decoder import OnnxDecoder

SPIN, STOP = "session.intra_op.spin_duration_us", "session.force_spinning_stop"


def decoder_with(threads: int) -> OnnxDecoder:
    decoder = load("laptop", threads=threads).decoder
    assert isinstance(decoder, OnnxDecoder)
    return decoder


def test_how_many_threads_compute_and_how_they_wait_changes_not_a_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = []
    for threads, free, kept in (
        (1, True, STOP),
        (2, False, STOP),
        (2, True, SPIN),
        (3, True, SPIN),
    ):
        monkeypatch.setattr(onnx_session, "are_free", lambda n, free=free: free)
        decoder = decoder_with(threads)
        options = decoder._session.get_session_options()
        assert options.get_session_config_entry(kept)
        with pytest.raises(RuntimeError):  # it has no such entry
            options.get_session_config_entry(STOP if kept == SPIN else SPIN)
        rows.append([decoder.feed(ids).copy() for ids in ([1, 2, 3, 4, 5], [6], [7, 8], [9])])
    for others in rows[1:]:
        for row, other in zip(rows[0], others, strict=True):
            np.testing.assert_array_equal(row, other)
