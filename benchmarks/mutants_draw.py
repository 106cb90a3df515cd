"""Which mutations a source offers, and which tests execute each of its lines; for benchmarks/mutants.py."""

import ast
import re
import warnings
from random import Random

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

MESSAGE_CALL = re.compile(r"(^|\.)(print|warn|\w*(Error|Warning)|(getLogger\(.*\)|\w*logger|logging|warnings)\.\w+)$")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Cover:
    """Tests that execute each line of one source; `executed` gives them for the lines the tracer saw."""

    def __init__(self, source, executed):
        self.executed, self.statement, self.in_function, self.traced = executed, {}, set(), set()
        codes = [compile(source, "source", "exec")]
        for code in codes:
            self.traced.update(line for *_, line in code.co_lines() if line)
            codes += [constant for constant in code.co_consts if hasattr(constant, "co_lines")]
        for node in ast.walk(ast.parse(source)):  # outer statements first, so that inner ones overwrite them
            if isinstance(node, ast.stmt):
                last = node.body[0].lineno - 1 if getattr(node, "body", None) else node.end_lineno
                self.statement |= {line: range(node.lineno, last + 1) for line in range(node.lineno, last + 1)}
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.in_function.update(range(node.body[0].lineno, node.end_lineno + 1))
        self.users = set().union(*(executed.get(line, ()) for line in self.in_function))

    def tests(self, line):
        if line not in self.in_function:
            return self.users | self.executed.get(line, set())
        lines = [line] if line in self.traced else self.statement.get(line, ())  # within a statement of many lines
        return set().union(*(self.executed.get(number, ()) for number in lines))


class Mutations:
    """The mutations of one source by line, without those of strings, messages, annotations and signatures."""

    def __init__(self, source):
        self.source, self.tree, self.by_line = source, ast.parse(source), {}
        lines, nodes = source.split("\n"), list(ast_nodes(get_ast(source)))
        left_out, kept = self._left_out()
        for name in operator_names():
            if get_operator(name).arguments():
                continue
            operator = get_operator(name)()
            positions = (start for node in nodes for start, _ in operator.mutation_positions(node))
            for occurrence, (line, column) in enumerate(positions):
                place = line, len(lines[line - 1][:column].encode())  # as ast counts
                if not any(a <= place < b for a, b in left_out) or any(a <= place < b for a, b in kept):
                    self.by_line.setdefault(line, []).append((name, occurrence))

    def _left_out(self):
        """Spans (start, end) to leave out, and spans within them to keep all the same: the defaults of arguments."""
        left_out, kept = [], []
        for node in ast.walk(self.tree):
            if isinstance(node, FUNCTIONS):
                left_out.append(((node.lineno, node.col_offset), _span(node.body[0])[0]))
                kept += [_span(default) for default in node.args.defaults + node.args.kw_defaults if default]
            elif (
                isinstance(node, (ast.Raise, ast.JoinedStr))
                or (isinstance(node, ast.BinOp) and (_is_text(node.left) or _is_text(node.right)))
                or (isinstance(node, ast.Call) and MESSAGE_CALL.search(ast.unparse(node.func)))
            ):
                left_out.append(_span(node))
            elif isinstance(node, ast.Assert) and node.msg:
                left_out.append(_span(node.msg))
            elif isinstance(node, ast.AnnAssign):
                left_out.append(_span(node.annotation))
        return left_out, kept

    def draw(self, line, seed):
        """One of the line's mutations that compile and change the program, or None.

        Returns:
            dict: `operator`, `start`, the line where `before` stands, `before` and `after`, lists of lines.
        """
        offered = list(self.by_line.get(line, ()))
        Random(seed).shuffle(offered)
        for name, occurrence in offered:
            mutated = mutate_code(self.source, get_operator(name)(), occurrence)
            if self._is_another_program(mutated):
                return {"operator": name.rpartition("/")[2], **_difference(self.source, mutated)}
        return None

    def _is_another_program(self, mutated):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                compile(mutated, "mutated", "exec")
        except SyntaxError:  # an operator of cosmic-ray does not fit here, such as + in place of the * of {*a}
            return False
        return ast.dump(ast.parse(mutated)) != ast.dump(self.tree)


def _span(node):
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def _is_text(node):
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _difference(source, mutated):
    """The lines in which two sources differ."""
    before, after = source.split("\n"), mutated.split("\n")
    start = 0
    while before[start] == after[start]:
        start += 1
    while before[-1] == after[-1] and min(len(before), len(after)) > start + 1:
        before.pop(), after.pop()
    return {"start": start + 1, "before": before[start:], "after": after[start:]}
