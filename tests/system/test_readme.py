"""The promises in the README, and the tests that hold them."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_each_promise_names_tests_that_exist() -> None:
    readme = (TESTS.parent / "README.md").read_text()
    table = readme.partition("## What ocrd promises")[2].partition("\n## ")[0]
    promises = [line for line in table.splitlines() if line.startswith("| **")]
    assert len(promises) >= 5
    for promise in promises:
        named = re.findall(r"`tests/([\w/]+\.py)(?:::(\w+))?`", promise)
        assert named, promise
        for file, test in named:
            names = {
                node.name for node in ast.parse((TESTS / file).read_text()).body if isinstance(node, ast.FunctionDef)
            }
            assert not test or test in names, f"{file} has no {test}"
