import numpy as np
import pytest

from minigpt.runtime import onnx_decoder
from minigpt.runtime.library import load
from minigpt.runtime.onnx_decoder import OnnxDecoder
from minigpt.runtime.onnx_session import SMALL_ASLEEP, SMALL_AWAKE, default_threads

SPIN, STOP = "session.intra_op.spin_duration_us", "session.force_spinning_stop"


def test_how_many_threads_compute_and_how_they_wait_changes_not_a_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = []
    for threads, free, sparing, kept in (
        (1, None, False, STOP),
        (2, 1, False, STOP),
        (2, 2, False, SPIN),
        (2, 2, True, STOP),
        (3, 4, False, SPIN),
    ):
        monkeypatch.setattr(onnx_decoder, "free_cores", lambda free=free: free)
        decoder = load("laptop", threads=threads, sparing=sparing).decoder
        assert isinstance(decoder, OnnxDecoder)
        options = decoder._session.get_session_options()
        assert options.intra_op_num_threads == threads
        assert options.get_session_config_entry(kept)
        with pytest.raises(RuntimeError):  # it has no such entry
            options.get_session_config_entry(STOP if kept == SPIN else SPIN)
        rows.append([decoder.feed(ids).copy() for ids in ([1, 2, 3, 4, 5], [6], [7, 8], [9])])
    for others in rows[1:]:
        for row, other in zip(rows[0], others, strict=True):
            np.testing.assert_array_equal(row, other)


def test_there_are_no_more_threads_than_free_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt.runtime.onnx_session.usable_cores", lambda: 4)
    assert [default_threads(SMALL_ASLEEP + more) for more in (0, 1)] == [1, 4]
    assert [default_threads(SMALL_AWAKE + more, free=3) for more in (0, 1)] == [1, 3]
    assert default_threads(10**9, free=0) == 1
