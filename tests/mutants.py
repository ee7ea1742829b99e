# Copyright: (c) 2026, the our.cloud founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that are put into the wings of module_utils, one at a time, in a copy of the tree: which does no unit test notice?

A comparison, an operator, a constant or what a function returns is changed on a line that tests run, and those tests run again.
mutants.yml has those that no test is to notice. The status is 1 if something in it is like no fault any more.
"""

from __future__ import annotations

import argparse
import ast
import collections
import contextlib
import dataclasses
import importlib
import os
import pathlib
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import coverage
import pytest
import yaml

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
WINGS = ("_guest", "_move", "_registry", "_site")
PRELOADED = ("ansible.module_utils.basic", "ansible.plugins.loader", "ansible.template", "hypothesis", "jinja2", "cryptography.x509", "multiprocessing")
# What a child says whose tests pass. A fault may end the child, with any other status.
PASSED = 77
OPTIONS = ("-q", "-x", "-p", "no:cacheprovider")
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


@dataclasses.dataclass(frozen=True)
class Fault:
    """One node of a file that becomes something else."""

    path: pathlib.Path
    node: ast.AST
    new: ast.AST
    line: str
    returns: str  # what the function around it says that it returns

    def __str__(self) -> str:
        return f"{'/'.join(self.path.parts[-2:])}:{self.node.lineno}: {self.change}"

    @property
    def change(self) -> str:
        return f"{ast.unparse(self.node)} -> {ast.unparse(self.new)}"

    def is_like(self, entry: dict[str, str]) -> bool:
        """Whether it is one of those that an entry of mutants.yml stands for."""
        change = entry.get("change", self.change)
        if change == "number":
            as_told = isinstance(self.new, ast.Constant) and isinstance(self.new.value, int) and not isinstance(self.new.value, bool)
        elif change == "boundary":
            as_told = isinstance(self.new, ast.Compare) and isinstance(self.new.ops[0], (ast.Lt, ast.LtE, ast.Gt, ast.GtE))
        else:
            as_told = change == self.change
        return (as_told and str(self.path).endswith(entry.get("in", "")) and entry.get("line", "") in self.line
                and entry.get("returns", self.returns) == self.returns)


def faults(path: pathlib.Path) -> list[Fault]:
    """All that can be put into a file."""
    text = path.read_text(encoding="utf-8")
    lines, tree = text.splitlines(), ast.parse(text)
    around = {line: ast.unparse(function.returns) if function.returns else "" for function in functions(tree)
              for line in range(function.lineno, function.end_lineno + 1)}
    return [Fault(path, node, new, lines[node.lineno - 1].strip(), around.get(node.lineno, "")) for node, new in places(tree)]


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    """All of a module, those that are in others behind them."""
    return sorted((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)), key=lambda node: node.lineno)


def imported(path: pathlib.Path) -> set[int]:
    """The lines of a module that run when it is imported, which happens once for all tests."""
    text = path.read_text(encoding="utf-8")
    inside = {line for function in functions(ast.parse(text)) for line in range(function.body[0].lineno, function.end_lineno + 1)}
    return set(range(1, len(text.splitlines()) + 1)) - inside


class Accepted:
    """The faults that no test is to notice, each with its reason: entries of mutants.yml."""

    def __init__(self, entries: list[dict[str, str]]) -> None:
        self.entries, self.used = entries, set()

    @classmethod
    def read(cls) -> Accepted:
        return cls(yaml.safe_load((CHECKOUT / "tests/mutants.yml").read_text(encoding="utf-8")))

    def why(self, fault: Fault) -> str | None:
        """The reason of a fault; None if tests are to notice it."""
        for number, entry in enumerate(self.entries):
            if fault.is_like(entry):
                self.used.add(number)
                return entry["why"]
        return None

    def stale(self) -> list[dict[str, str]]:
        """The entries that match no fault of any wing."""
        for wing in WINGS:
            for path in sorted((CHECKOUT / "plugins/module_utils" / wing).glob("*.py")):
                for fault in faults(path):
                    self.why(fault)
        return [entry for number, entry in enumerate(self.entries) if number not in self.used]


class Copy:
    """A copy of the tree, in which tests run."""

    def __init__(self, folder: str) -> None:
        self.folder = pathlib.Path(folder)
        self.output = self.folder / "mutants.output"
        names = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True).stdout
        subprocess.run(["xargs", "-0", "cp", "--parents", "--no-dereference", "--target-directory", folder], input=names, cwd=CHECKOUT, check=True)
        for name in PRELOADED:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)

    def pytest(self, nodes: list[str], before: tuple[str, ...] = (), more: tuple[str, ...] = ()) -> int:
        """The status of a run in a process of its own."""
        argv = [sys.executable, *before, "-m", "pytest", *OPTIONS, *more, *nodes]
        process = subprocess.run(argv, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.said = process.stdout.decode(errors="replace")
        return process.returncode

    def notices(self, nodes: list[str], bound: float) -> bool:
        """Whether one of these tests fails, or does not end within so many seconds. In a child that has imported what all tests do; the tree's
        own modules are read anew."""
        child = os.fork()
        if child == 0:
            os.setsid()
            os.chdir(self.folder)
            # the bytecode of the tests is there from the first run; none of a fault is to stay
            sys.dont_write_bytecode = True
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for descriptor in (1, 2):
                os.dup2(os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
            passed = False
            try:
                passed = pytest.main([*OPTIONS, *nodes]) == 0
            finally:
                os._exit(PASSED if passed else 1)
        ended = os.pidfd_open(child)
        try:
            if not select.select([ended], [], [], bound)[0]:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return True
        finally:
            os.close(ended)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != PASSED

    def tests(self, wing: str) -> dict[str, str]:
        """{name of a module: its path} of the tests that import a wing or a plugin that does, and of those that run modules."""
        of_wing = re.compile(rf"module_utils\.{wing}\b")
        plugins = [rf"{path.parent.name}(\.| import ){path.stem}\b" for kind in ("action", "filter", "inventory", "lookup")
                   for path in sorted(self.folder.glob(f"plugins/{kind}/*.py")) if of_wing.search(path.read_text(encoding="utf-8"))]
        imports = re.compile("|".join([of_wing.pattern, *(rf"plugins\.{plugin}" for plugin in plugins)]))
        return {path.stem: str(path.relative_to(self.folder)) for path in sorted(self.folder.glob("tests/unit/**/test_*.py"))
                if imports.search(path.read_text(encoding="utf-8")) or path.stem.startswith("test_modules")}

    def run_by(self, wing: str) -> tuple[dict[pathlib.Path, dict[int, set[str]]], dict[str, float]]:
        """({file: {line: the tests that run it}} of a wing, {test: the seconds that it takes}); what runs outside of tests (imports, fixtures)
        counts as run by all of the file's, by the whole of the test files that import it, and by those that look at every module's options."""
        rc, data, times = self.folder / "mutants.rc", self.folder / f"mutants{wing}.data", self.folder / "mutants.xml"
        rc.write_text(f"[run]\nsource = plugins/module_utils/{wing}\ndata_file = {data}\ndynamic_context = test_function\n", encoding="utf-8")
        tests = self.tests(wing)
        if self.pytest(list(tests.values()), before=("-m", "coverage", "run", f"--rcfile={rc}"), more=(f"--junitxml={times}",)) != 0:
            raise SystemExit(f"the tests of {wing} fail by themselves:\n{self.said[-3000:]}")
        told, found = coverage.CoverageData(str(data)), {}
        told.read()
        for name in told.measured_files():
            lines = {line: {context for context in contexts if context} for line, contexts in told.contexts_by_lineno(name).items()}
            of_file, outside = set().union(*lines.values()), imported(pathlib.Path(name))
            by_all = {self.node(tests, context) for context in of_file | {"test_modules.test_options"}} | self.importing(tests, wing, pathlib.Path(name).stem)
            found[pathlib.Path(name)] = {
                line: {self.node(tests, context) for context in contexts} if contexts and line not in outside else by_all for line, contexts in lines.items()}
        # one that pytest does not know by this name, or that fails in a child, would notice everything
        known = sorted(set().union(*(nodes for lines in found.values() for nodes in lines.values())))
        if self.notices(known, 3600):
            raise SystemExit(f"some tests of {wing} fail though there is no fault:\n{self.output.read_text(encoding='utf-8')[-3000:]}")
        took: dict[str, float] = collections.defaultdict(float)
        for case in ET.parse(times).iter("testcase"):
            name = f"{case.get('classname').rpartition('test_')[2]}.{case.get('name').partition('[')[0]}"
            node = self.node(tests, f"test_{name}")
            for each in (node, node.partition("::")[0]):
                took[each] += float(case.get("time"))
        return found, took

    def importing(self, tests: dict[str, str], wing: str, name: str) -> set[str]:
        """The paths of the tests that import a module of a wing: a table in it is compared without a line of it being run."""
        words = re.compile(rf"module_utils\.{wing}(\.{name}\b| import [^\n]*\b{name}\b)")
        return {path for path in tests.values() if words.search((self.folder / path).read_text(encoding="utf-8"))}

    @staticmethod
    def node(tests: dict[str, str], context: str) -> str:
        """pytest's name of a test, by coverage.py's: module.function or module.Class.function."""
        module, dummy, name = context.partition(".")
        return f"{tests[module]}::{name.replace('.', '::')}"

    def attempt(self, fault: Fault, tests: list[str], bound: float) -> bool:
        """Whether a test notices."""
        text = fault.path.read_text(encoding="utf-8")
        fault.path.write_text(spliced(text, fault.node, fault.new), encoding="utf-8")
        try:
            return self.notices(tests, bound)
        finally:
            fault.path.write_text(text, encoding="utf-8")


@dataclasses.dataclass
class Count:
    """What became of the faults of a sample."""

    killed: int = 0
    survived: int = 0
    accepted: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(*(getattr(self, field.name) + getattr(other, field.name) for field in dataclasses.fields(self)))

    def __str__(self) -> str:
        tried = self.killed + self.survived
        return f"{tried} tried, {self.survived} survive ({100 * self.survived / max(1, tried):.1f} %), {self.accepted} more are accepted"


def examine(copy: Copy, wing: str, asked: argparse.Namespace, end: float, accepted: Accepted) -> Count:
    """A sample of the faults of a wing."""
    covered, took = copy.run_by(wing)
    found = [(fault, lines[fault.node.lineno]) for path, lines in sorted(covered.items()) if path.match(asked.only) for fault in faults(path)
             if lines.get(fault.node.lineno)]
    chosen, count = random.Random(asked.seed).sample(found, min(asked.sample, len(found))), Count()
    for fault, tests in chosen:
        if time.monotonic() > end:
            break
        if accepted.why(fault):
            count.accepted += 1
        # the quick ones first. One that runs on and on has been noticed.
        elif copy.attempt(fault, sorted(tests, key=lambda test: (took[test], test)), 60 + 5 * sum(took[test] for test in tests)):
            count.killed += 1
        else:
            count.survived += 1
            print(f"  survives: {fault}    in    {fault.line}", flush=True)
    print(f"{wing}: of {len(found)}: {count}", flush=True)
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wings", nargs="*", default=WINGS, help="by default: " + " ".join(WINGS))
    parser.add_argument("--sample", type=int, default=50, help="faults for each wing (50)")
    parser.add_argument("--only", default="*.py", help="those of files of such a name alone")
    parser.add_argument("--minutes", type=float, default=60, help="bound of the whole, shared evenly by the wings (60)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="to have the same faults again")
    asked = parser.parse_args()
    print(f"--seed {asked.seed}", flush=True)
    accepted, count, begun = Accepted.read(), Count(), time.monotonic()
    stale = accepted.stale()
    for entry in stale:
        print(f"  mutants.yml: nothing is like {entry}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(folder)
        for number, wing in enumerate(asked.wings, 1):
            count += examine(copy, wing, asked, begun + number * asked.minutes * 60 / len(asked.wings), accepted)
    print(f"all: {count}")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
