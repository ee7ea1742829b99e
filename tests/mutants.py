# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that are put into the wings of module_utils, one at a time, in a copy of the tree: which does no unit test notice?

A comparison, an operator, a constant or what a function returns is changed on a line that tests run, and those tests run again.
"""

from __future__ import annotations

import argparse
import ast
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import coverage

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
WINGS = ("_guest", "_move", "_registry", "_site")
OTHER = {ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.In: ast.NotIn, ast.NotIn: ast.In,
         ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv,
         ast.FloorDiv: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}


def changed(node: ast.AST) -> ast.AST | None:
    """What stands in the place of a node; None if it is left as it is."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER:
        return ast.Compare(node.left, [OTHER[type(node.ops[0])](), *node.ops[1:]], node.comparators)
    if isinstance(node, ast.BoolOp):
        return ast.BoolOp(OTHER[type(node.op)](), node.values)
    # strings and lists are added, too, and cannot be subtracted: any test notices that
    if isinstance(node, ast.BinOp) and type(node.op) in OTHER and not any(isinstance(side, (ast.Constant, ast.JoinedStr)) and not isinstance(
            getattr(side, "value", None), int) for side in (node.left, node.right)):
        return ast.BinOp(node.left, OTHER[type(node.op)](), node.right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int)):
        return ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1)
    # words that decide; texts that people read are compared by few tests
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
        return ast.Constant(node.value + "x")
    return None


def places(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """(node, what comes in its place) of a module."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        for child in ast.iter_child_nodes(node):
            # Within f-strings Python tells no places before 3.12. Annotations are no code; the version of a file's dialect is none either.
            if isinstance(child, (ast.JoinedStr, ast.ImportFrom)) or child in (getattr(node, "annotation", None), getattr(node, "returns", None)):
                continue
            todo.append(child)
        if isinstance(node, ast.Return) and node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield node.value, ast.Constant(None)
        new = changed(node)
        if new is not None:
            yield node, new


def spliced(text: str, node: ast.AST, new: ast.AST) -> str:
    """The text with something else in the place of a node. All the rest stays as it is, for tests that read it."""
    lines = text.encode().splitlines(keepends=True)
    begin = sum(map(len, lines[:node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[:node.end_lineno - 1])) + node.end_col_offset
    whole = text.encode()
    return (whole[:begin] + f"({ast.unparse(new)})".encode() + whole[end:]).decode()


class Copy:
    """A copy of the tree, in which tests run."""

    def __init__(self, folder: str) -> None:
        self.folder = pathlib.Path(folder)
        names = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True).stdout
        subprocess.run(["xargs", "-0", "cp", "--parents", "--no-dereference", "--target-directory", folder], input=names, cwd=CHECKOUT, check=True)

    def pytest(self, nodes: list[str], timeout: float | None = None, before: tuple[str, ...] = ()) -> int | None:
        """The status of a run; None if it did not end within the bound."""
        argv = [sys.executable, *before, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *nodes]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(argv, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            self.said = process.communicate(timeout=timeout)[0].decode(errors="replace")
            return process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            return None

    def tests(self, wing: str) -> dict[str, str]:
        """{name of a module: its path} of the tests that import a wing, and of those that run modules."""
        return {path.stem: str(path.relative_to(self.folder)) for path in sorted(self.folder.glob("tests/unit/**/test_*.py"))
                if re.search(rf"module_utils\.{wing}\b", path.read_text(encoding="utf-8")) or path.stem.startswith("test_modules")}

    def run_by(self, wing: str) -> dict[pathlib.Path, dict[int, set[str]]]:
        """{file: {line: the tests that run it}} of a wing; what runs outside of tests (imports, fixtures) counts as run by all of the file's."""
        rc, data = self.folder / "mutants.rc", self.folder / f"mutants{wing}.data"
        rc.write_text(f"[run]\nsource = plugins/module_utils/{wing}\ndata_file = {data}\ndynamic_context = test_function\n", encoding="utf-8")
        tests = self.tests(wing)
        if self.pytest(list(tests.values()), before=("-m", "coverage", "run", f"--rcfile={rc}")) != 0:
            raise SystemExit(f"the tests of {wing} fail by themselves:\n{self.said[-3000:]}")
        told, found = coverage.CoverageData(str(data)), {}
        told.read()
        for name in told.measured_files():
            lines = {line: {context for context in contexts if context} for line, contexts in told.contexts_by_lineno(name).items()}
            of_file = set().union(*lines.values())
            found[pathlib.Path(name)] = {line: {self.node(tests, context) for context in contexts or of_file} for line, contexts in lines.items()}
        # a test that pytest does not know by this name would count as one that fails
        known = set().union(*(nodes for lines in found.values() for nodes in lines.values()))
        if self.pytest(["--collect-only", *sorted(known)]) != 0:
            raise SystemExit(f"some tests of {wing} are not known to pytest:\n{self.said[-3000:]}")
        return found

    @staticmethod
    def node(tests: dict[str, str], context: str) -> str:
        """pytest's name of a test, by coverage.py's: module.function or module.Class.function."""
        module, dummy, name = context.partition(".")
        return f"{tests[module]}::{name.replace('.', '::')}"


def attempt(copy: Copy, path: pathlib.Path, node: ast.AST, new: ast.AST, tests: set[str]) -> bool:
    """Whether a test notices."""
    text = path.read_text(encoding="utf-8")
    path.write_text(spliced(text, node, new), encoding="utf-8")
    try:
        # one that runs on and on has been noticed
        return copy.pytest(sorted(tests), timeout=60 + len(tests)) != 0
    finally:
        path.write_text(text, encoding="utf-8")


def examine(copy: Copy, wing: str, sample: int, end: float, chance: random.Random) -> tuple[int, list[str]]:
    """(how many were tried, those that nobody noticed) of a wing."""
    found = []
    for path, lines in sorted(copy.run_by(wing).items()):
        found += [(path, node, new, lines[node.lineno]) for node, new in places(ast.parse(path.read_text(encoding="utf-8"))) if lines.get(node.lineno)]
    chosen, tried, survivors = chance.sample(found, min(sample, len(found))), 0, []
    for path, node, new, tests in chosen:
        if time.monotonic() > end:
            break
        tried += 1
        if not attempt(copy, path, node, new, tests):
            survivors.append(f"{path.relative_to(copy.folder)}:{node.lineno}: {ast.unparse(node)}  ->  {ast.unparse(new)}")
            print(f"  survives: {survivors[-1]}", flush=True)
    print(f"{wing}: {tried} of {len(found)} tried, {len(survivors)} survive ({100 * len(survivors) / max(1, tried):.1f} %)", flush=True)
    return tried, survivors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wings", nargs="*", default=WINGS, help="by default: " + " ".join(WINGS))
    parser.add_argument("--sample", type=int, default=50, help="faults for each wing (50)")
    parser.add_argument("--minutes", type=float, default=60, help="bound of the whole, shared evenly by the wings (60)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="to have the same faults again")
    asked = parser.parse_args()
    print(f"--seed {asked.seed}", flush=True)
    tried, survived, begun = 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(folder)
        for number, wing in enumerate(asked.wings, 1):
            some, survivors = examine(copy, wing, asked.sample, begun + number * asked.minutes * 60 / len(asked.wings), random.Random(asked.seed))
            tried, survived = tried + some, survived + len(survivors)
    print(f"all: {tried} tried, {survived} survive ({100 * survived / max(1, tried):.1f} %)")


if __name__ == "__main__":
    main()
