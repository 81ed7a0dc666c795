import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

pytest.importorskip("onnx")

from minigpt_export.quantize import dequantize, quantize

MATRICES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements=st.floats(-100, 100, width=32),
)


@given(MATRICES, st.sampled_from([(8, 16), (8, 32), (4, 16), (4, 32)]))
def test_no_number_is_off_by_more_than_a_step(
    matrix: np.ndarray[tuple[int, int], np.dtype[np.float32]], form: tuple[int, int]
) -> None:
    bits, block_size = form
    q = quantize(matrix, bits=bits, block_size=block_size)
    n_blocks = -(-matrix.shape[1] // block_size)
    assert q.numbers.shape == (len(matrix), n_blocks, block_size * bits // 8)
    back = dequantize(q, matrix.shape[1])
    # half a step by rounding, one where the range ends a step early
    steps = np.abs(q.scales).repeat(block_size, axis=1)[:, : matrix.shape[1]]
    assert (np.abs(back - matrix) <= 1.001 * steps + 1e-6).all()


def test_a_worked_example() -> None:
    matrix = np.zeros((1, 16), np.float32)
    matrix[0, :4] = [-1.0, 0.875, 0.125, 0.0]
    q = quantize(matrix, bits=4, block_size=16)
    assert q.scales[0, 0] == 0.125
    # -1 is 0, 0.875 is 15, 0.125 is 9, 0 is 8; the first of a pair is the low half
    assert q.numbers[0, 0, :2].tolist() == [0 | 15 << 4, 9 | 8 << 4]
    np.testing.assert_allclose(dequantize(q, 16), matrix, atol=1e-6)


def test_a_block_of_zeros_stays_one() -> None:
    zeros = np.zeros((2, 32), np.float32)
    np.testing.assert_array_equal(dequantize(quantize(zeros, bits=8, block_size=32), 32), zeros)
