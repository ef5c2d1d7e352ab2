"""Faults to plant, one at a time: from the source of a module to mutants of it.

A mutant is known by what it changes, not by its line, so that a sample stays the same where nothing has changed::

    ends/pump.py SocketEnd.write remove 2    the second statement of that method that can be left out
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

__all__ = ["Mutant", "mutants", "sample"]

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}


@dataclass(frozen=True)
class Mutant:
    """C{key} is what is above, C{before} and C{after} stand at C{line}, and C{source} is the whole module after."""

    path: str
    key: str
    line: int
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        """In one line. Without the number of its line, which changes with every edit."""
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        return f"{self.key}\t{before} => {after}"


def sample(candidates: Iterable[Mutant], size: int, seed: int) -> list[Mutant]:
    """As many of them, by lot: a mutant's lot depends on nothing but its key and C{seed}."""
    return sorted(candidates, key=lambda mutant: sha256(f"{seed} {mutant.key}".encode()).digest())[:size]


def mutants(path: str, source: str) -> Iterator[Mutant]:
    """@param path: of the module, below the package."""
    encoded = source.encode()
    starts = [0]
    for text in encoded.splitlines(keepends=True):
        starts.append(starts[-1] + len(text))
    numbers: Counter[str] = Counter()
    for scope, node, operator, after in _changes(ast.parse(source), ""):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        name = f"{path} {scope or '-'} {operator}"
        numbers[name] += 1
        changed = encoded[:begin] + after.encode() + encoded[end:]
        yield Mutant(path, f"{name} {numbers[name]}", node.lineno, encoded[begin:end].decode(), after, changed.decode())


_Change = tuple[str, "ast.expr | ast.stmt", str, str]


def _changes(node: ast.AST, scope: str) -> Iterator[_Change]:
    """Scope, what is replaced, by which operator, and by what. Annotations, decorators and texts are let be."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        scope = f"{scope}.{node.name}".lstrip(".")
    if isinstance(node, (ast.Assert, ast.JoinedStr)) or _isDeclaration(node):
        return
    if isinstance(node, ast.stmt):
        yield from ((scope, node, *change) for change in _ofStatement(node))
    if isinstance(node, ast.expr):
        yield from ((scope, node, operator, f"({after})") for operator, after in _ofExpression(node, scope))
    if isinstance(node, (ast.If, ast.IfExp)):
        yield scope, node.test, "always", "True"
        yield scope, node.test, "never", "False"
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns", "decorator_list", "bases", "type_params"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _changes(child, scope)


def _isDeclaration(node: ast.AST) -> bool:
    """C{__all__}, C{__slots__}, aliases and variables of types."""
    if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
        return False
    name = node.targets[0].id
    types = isinstance(node.value, (ast.Subscript, ast.BinOp)) and name.lstrip("_")[:1].isupper()
    return name.startswith("__") or (types and not name.isupper())


def _ofStatement(node: ast.stmt) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise() | ast.AugAssign() | ast.Delete():
            yield "remove", "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield "remove", "pass"
        case ast.Break() | ast.Continue():
            yield "remove", "pass"
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield "nothing", "return None"
        case ast.Return(value=None):
            yield "remove", "pass"


def _ofExpression(node: ast.expr, scope: str) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Compare(left=left, ops=[op, *ops], comparators=others):
            yield "compare", ast.unparse(ast.Compare(left, [COMPARISONS[type(op)](), *ops], others))
        case ast.BoolOp(op=ast.And(), values=values):
            yield "or", ast.unparse(ast.BoolOp(ast.Or(), values))
        case ast.BoolOp(op=ast.Or(), values=values):
            yield "and", ast.unparse(ast.BoolOp(ast.And(), values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "affirm", ast.unparse(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            yield "arithmetic", ast.unparse(ast.BinOp(left, ARITHMETIC[type(op)](), right))
        case ast.Constant(value=bool() as value):
            yield "constant", str(not value)
        case ast.Constant(value=int() | float() as value):
            # a code, an offset; or the constant of a module, most of which are limits
            yield "constant", repr(value + 1 if scope else 2 * value or 1)
        case ast.Constant(value=bytes() as value):
            yield "constant", repr(b"" if value else b"?")
