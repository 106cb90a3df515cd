"""Mutation testing: small faults put into covered lines at random, and whether the tests of those lines notice them.

    pip install cosmic-ray coverage
    python benchmarks/mutants.py coverage --state=FILE.jsonl [--rooms=training,tokenizer] [--tests=tests] [--jobs=2]
    python benchmarks/mutants.py draw --state=FILE.jsonl [--n=100] [--seed=2024]
    python benchmarks/mutants.py run --state=FILE.jsonl [--jobs=2] [--budget=120] [--again]
    python benchmarks/mutants.py report --state=FILE.jsonl [--equivalent=ID:REASON] [--out=FILE.md]

Each command can be killed at any time and started again: whatever is finished is kept in the state, one JSON object per
line. Tests run in copies of the checkout. The sources of the rooms must not change between commands. Tests may:
`coverage` measures changed test files again, then `run --again` runs the survivors again. POSIX only.

cosmic-ray's operators that need no arguments make the mutations. The draw takes a covered line, each with the same
chance, then one of its mutations. It leaves out strings, log calls, raised errors, annotations, and function signatures
except defaults. The tests that execute the line run fastest first, up to `--budget` seconds of their usual time; code
that runs at import counts as executed by every test that runs a function of its file. A mutant is killed if one of them
fails, or if they need more than three times their usual time plus GRACE seconds, and the same tests in the same order
pass without the mutation.
"""

import argparse
import fcntl
import hashlib
import json
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

from mutants_draw import Cover, Mutations
from mutants_runs import ROOT, in_parallel, judge, pytest

PACKAGE = ROOT / "recbole_unirep"
ROOMS = ["scoring", "training", "tokenizer", "semantic_ids", "data"]
HOUR = 3600


class State:
    """Records of the state file; `append` adds one. Only one process at a time may hold the file."""

    def __init__(self, path):
        self.path = Path(path).resolve()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(self.path, "a+b")  # noqa: SIM115  held with its lock until the process ends
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"{self.path} is in use by another process: wait for it to end")
        self.file.seek(0)
        self.records = [record for line in self.file if (record := _record(line))]

    def append(self, kind, **fields):
        self.records.append({"kind": kind, **fields})
        self.file.write(b"\n" + json.dumps(self.records[-1]).encode())  # on a new line, even after an incomplete one
        self.file.flush()

    def of(self, kind):
        return [record for record in self.records if record["kind"] == kind]

    def settings(self, kind):
        """The one record of a command's settings, `rooms` or `draw`."""
        if not self.of(kind):
            sys.exit(f"{self.path} has no record of {kind}: run the commands in the order coverage, draw, run, report")
        return self.of(kind)[0]

    def sources(self):
        """Source files of the rooms, which must not have changed since the state was started."""
        rooms = self.settings("rooms")
        files = sources(rooms["rooms"])
        if digest(*files) != rooms["digest"]:
            sys.exit(f"the rooms changed since {self.path} was begun: check out that commit or name another --state")
        return files

    def tests(self):
        """name -> record of each test that passed, from test files as they are now; none may have changed."""
        records = self.of("test")
        now = {file: digest(file) for file in {file_of(record["test"]) for record in records}}
        current = {record["test"]: record for record in records if record["digest"] == now[file_of(record["test"])]}
        changed = {file for file in now if (ROOT / file).is_file()} - {file_of(test) for test in current}
        if changed:
            sys.exit(f"changed since they were measured: {', '.join(sorted(changed))}; run the command coverage")
        return {test: record for test, record in current.items() if record["outcome"] == "passed"}

    def mutants(self):
        """id -> mutant with the fields of its last outcome, `survived_before` it, and why it is `equivalent`."""
        mutants = {record["id"]: record | {"verdict": None} for record in self.of("mutant")}
        for outcome in self.of("outcome"):
            mutant = mutants[outcome["id"]]
            mutant |= outcome | {"survived_before": mutant["verdict"] == "survived"}
        for record in self.of("equivalent"):
            mutants[record["id"]] |= {"verdict": "equivalent", "killer": record["reason"]}
        return mutants

    def covers(self):
        """source file -> its Cover."""
        executed = {file: {} for file in self.sources()}
        for name, record in self.tests().items():
            for file, lines in record["lines"].items():
                for line in lines:
                    executed[file].setdefault(line, set()).add(name)
        return {file: Cover((ROOT / file).read_text(encoding="utf-8"), lines) for file, lines in executed.items()}


def _record(line):
    """Record of a line; None for an empty or incomplete line, whose work is done again."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def sources(rooms):
    """Python files of rooms, relative to the checkout; a room is a folder of the package or one file."""
    files = [path for room in rooms for path in (*PACKAGE.glob(f"{room}.py"), *(PACKAGE / room).rglob("*.py"))]
    return sorted(path.relative_to(ROOT).as_posix() for path in files)


def digest(*files):
    """Digest of the files' names and contents; a missing file is empty."""
    text = hashlib.sha256()
    for file in files:
        text.update(file.encode() + ((ROOT / file).read_bytes() if (ROOT / file).is_file() else b""))
    return text.hexdigest()[:16]


def file_of(test):
    return test.partition("::")[0]


def coverage(state, options):
    """Stores what each test executes, test file by test file; returns the files that could not be measured."""
    if not state.of("rooms"):
        present = [room for room in options.rooms or ROOMS if sources([room])]
        print(f"rooms: {', '.join(present)}")
        state.append("rooms", rooms=present, digest=digest(*sources(present)))
    rooms = state.settings("rooms")["rooms"]
    if options.rooms and options.rooms != rooms:
        print(f"the state was begun with the rooms {', '.join(rooms)}: --rooms is ignored")
    measured_sources = state.sources()
    paths = {path for name in options.tests for path in (*ROOT.glob(name), *(ROOT / name).rglob("test_*.py"))}
    files = [path.relative_to(ROOT).as_posix() for path in sorted(paths) if path.is_file()]
    finished = {(record["file"], record["digest"]) for record in state.of("measured")}
    left = [file for file in files if (file, digest(file)) not in finished]

    def measure(copy, file):
        started, now = time.monotonic(), digest(file)
        done = [record["test"] for record in state.of("test") if record["digest"] == now]
        request = {"state": str(state.path), "sources": measured_sources, "digest": now, "done": done, "limit": HOUR}
        return file, now, *pytest(copy, [file], request), round(time.monotonic() - started)

    problems = []
    results = in_parallel(measure, left, options.jobs, state.path)
    for number, (file, now, status, output, seconds) in enumerate(results, 1):
        print(f"{number}/{len(left)} {file} {seconds} s: {output.strip().rpartition(chr(10))[2]}", flush=True)
        if status in (0, 1, 5):  # all passed, some failed, none to run
            state.append("measured", file=file, digest=now)
        else:
            problems.append(f"{file} is not measured: pytest ended with status {status}\n{output}")
    return problems


def draw(state, options):
    """Stores the settings of the draw and draws."""
    if not state.of("draw"):
        state.append("draw", n=options.n, seed=options.seed)
    draw_missing(state)


def draw_missing(state):
    """Draws mutants until there are n that are not equivalent."""
    n, seed, mutants = state.settings("draw")["n"], state.settings("draw")["seed"], state.mutants().values()
    wanted = n + sum(mutant["verdict"] == "equivalent" for mutant in mutants)
    places = [(mutant["file"], mutant["line"]) for mutant in mutants]
    if len(places) == wanted:
        return
    covers = state.covers()
    mutations = {file: Mutations((ROOT / file).read_text(encoding="utf-8")) for file in covers}
    pool = {(file, line) for file in covers for line in mutations[file].by_line if covers[file].tests(line)}
    print(f"{len(pool)} covered lines offer a mutation, {len(places)} mutants are drawn, {wanted} are wanted")
    # A line's place in the order depends on the seed and the line alone, so more tests do not change the draw.
    for file, line in sorted(pool - set(places), key=lambda place: Random(f"{seed} {place}").random()):
        if mutation := mutations[file].draw(line, f"{seed} {file} {line}"):
            places.append((file, line))
            state.append("mutant", id=f"m{len(places):03}", file=file, line=line, **mutation)
        if len(places) == wanted:
            return
    sys.exit(
        f"{wanted} mutants are wanted, the covered lines offer {len(places)}: give a smaller --n and a new --state"
    )


def run(state, options):
    """Decides each undecided mutant, with `again` each survivor too; returns those that stay undecided."""
    wanted = {None, "survived"} if options.again else {None}
    tests, covers = state.tests(), state.covers()
    left = [mutant for mutant in state.mutants().values() if mutant["verdict"] in wanted]

    def decide(copy, mutant):
        started, chosen, usual = time.monotonic(), {}, 0.0
        covering = sorted((tests[test]["seconds"], test) for test in covers[mutant["file"]].tests(mutant["line"]))
        for seconds, test in covering:
            usual += seconds
            if chosen and usual > options.budget:
                break
            chosen[test] = seconds
        verdict, killer = judge(copy, mutant, chosen)
        counts = {"covering": len(covering), "chosen": len(chosen), "seconds": round(time.monotonic() - started)}
        return {"id": mutant["id"], "verdict": verdict, "killer": killer, **counts}

    undecided = []
    for number, outcome in enumerate(in_parallel(decide, left, options.jobs, state.path), 1):
        print(f"{number}/{len(left)} {json.dumps(outcome)}", flush=True)
        if outcome["verdict"] == "undecided":
            undecided.append(f"{outcome['id']} is undecided: {outcome['killer']}")
        else:
            state.append("outcome", **outcome)
    return undecided


def report(state, options):
    """Marks survivors as equivalent, draws one for each, and prints or writes the Markdown page."""
    for name, _, reason in (given.partition(":") for given in options.equivalent):
        verdict = state.mutants().get(name, {"verdict": "not drawn"})["verdict"]
        if verdict != "survived" or not reason:
            sys.exit(f"--equivalent={name}:{reason}, {name} is {verdict}: give the id of a survivor and a reason")
        state.append("equivalent", id=name, reason=reason)
    draw_missing(state)
    text = page(state)
    if options.out:
        Path(options.out).write_text(text, encoding="utf-8")
    else:
        print(text)


def page(state):
    mutants = list(state.mutants().values())
    n, killing = Counter(mutant["verdict"] for mutant in mutants), ("killed", "timeout")
    n_killed = sum(mutant["verdict"] in killing for mutant in mutants)
    n_late = sum(mutant["verdict"] in killing and mutant["survived_before"] for mutant in mutants)
    n_cut = sum(mutant["chosen"] < mutant["covering"] for mutant in mutants if mutant["verdict"])
    lines = [
        "# Mutation testing",
        "",
        f"Rooms: {', '.join(state.settings('rooms')['rooms'])}. Seed: {state.settings('draw')['seed']}. "
        f"Mutants other than equivalent ones: {len(mutants) - n['equivalent']}. Tests measured: {len(state.tests())}.",
        "",
        "| killed | of these by time | of these by tests added later | survived | undecided | equivalent, redrawn |",
        "|---|---|---|---|---|---|",
        f"| {n_killed} | {n['timeout']} | {n_late} | {n['survived']} | {n[None]} | {n['equivalent']} |",
        "",
        f"The time budget cut the covering tests of {n_cut} mutants.",
    ]
    for title, verdict in (("Survivors", "survived"), ("Equivalent mutants", "equivalent")):
        lines += ["", f"## {title}"]
        for mutant in (mutant for mutant in mutants if mutant["verdict"] == verdict):
            reason = f": {mutant['killer']}" if mutant["killer"] else ""
            difference = [f"-{line}" for line in mutant["before"]] + [f"+{line}" for line in mutant["after"]]
            lines += ["", f"**{mutant['id']}** {mutant['file']}:{mutant['line']}, {mutant['operator']}{reason}"]
            lines += ["", "```diff", *difference, "```"]
    lines += ["", "## All mutants", "", "| id | line | operator | verdict | by, or why | tests run, of covering |"]
    lines += ["|---|---|---|---|---|---|"]
    for mutant in mutants:
        by = (mutant.get("killer") or "").replace("|", "\\|").replace("\n", " ")
        tests = f"{mutant['chosen']} of {mutant['covering']}" if mutant["verdict"] else ""
        named = f"{mutant['id']} | {mutant['file']}:{mutant['line']} | {mutant['operator']}"
        lines.append(f"| {named} | {mutant['verdict'] or 'undecided'} | {by} | {tests} |")
    return "\n".join(lines) + "\n"


COMMANDS = {"coverage": coverage, "draw": draw, "run": run, "report": report}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--state", required=True, help="file of what was measured, drawn and decided")
    parser.add_argument("--rooms", type=lambda given: given.split(","), help=f"default: {','.join(ROOMS)}")
    parser.add_argument("--tests", type=lambda given: given.split(","), default=["tests"], help="folders or files")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once, one thread each")
    parser.add_argument("--n", type=int, default=100, help="mutants to draw, not counting equivalent ones")
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--budget", type=float, default=120, help="seconds of tests per mutant, by their usual time")
    parser.add_argument("--again", action="store_true", help="run survivors again, after tests were added")
    parser.add_argument("--equivalent", action="append", default=[], help="ID:REASON of a survivor, to be redrawn")
    parser.add_argument("--out", help="file of the report; standard output if not given")
    options = parser.parse_args()
    if problems := COMMANDS[options.command](State(options.state), options):
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
