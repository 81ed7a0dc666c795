"""The examples in the docstrings."""

import doctest
import importlib
import pkgutil

import pytest

import minigpt
import minigpt_export
import minigpt_tui

MODULES = [
    found.name
    for package in (minigpt, minigpt_export, minigpt_tui)
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not found.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:  # of the laptop half, or without an extra
        pytest.skip(f"{error.name} is not installed")
    assert doctest.testmod(module).failed == 0
