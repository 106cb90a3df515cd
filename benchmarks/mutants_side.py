"""Pytest plugin of benchmarks/mutants_runs.py: measures what each test executes, or runs given tests in a given order.

MUTANTS_REQUEST names a JSON file with what is asked. A measuring run appends one record per test to `state`; any other
run writes the name of the first failed test, or of the file that could not be imported, to `killer`.
"""

import json
import os
import resource
import signal
from pathlib import Path

import coverage
import pytest

MEMORY = 8 * 2**30  # bytes of data per process: a mutated size must not exhaust the machine


def pytest_configure(config):
    request = json.loads(Path(os.environ["MUTANTS_REQUEST"]).read_text(encoding="utf-8"))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    signal.alarm(request["limit"])  # a loop without end must not outlive a killed parent
    plugin = Measure(config.rootpath, request) if "state" in request else Ordered(request)
    config.pluginmanager.register(plugin, "mutants")


class Requested:
    """Stops before the next test once the process that asked is gone: another may have taken its place."""

    def __init__(self, request):
        self.parent = request["parent"]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self):
        if os.getppid() != self.parent:
            os._exit(1)


class Ordered(Requested):
    """Runs `tests` in their order and no other test."""

    def __init__(self, request):
        super().__init__(request)
        self.place = {test: place for place, test in enumerate(request["tests"])}
        self.killer = Path(request["killer"])

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        chosen = [item for item in items if item.nodeid in self.place]
        items[:] = sorted(chosen, key=lambda item: self.place[item.nodeid])

    def pytest_collectreport(self, report):
        if report.failed:
            self.killer.write_text(f"import by {report.nodeid}", encoding="utf-8")

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.killer.write_text(report.nodeid, encoding="utf-8")


class Measure(Requested):
    """Appends the seconds of each passed test and the lines of `sources` it executes, leaving out the tests `done`.

    Lines that a fixture of a wider scope executes belong to every test that uses the fixture, not only to the first.
    """

    def __init__(self, root, request):
        super().__init__(request)
        self.root, self.state = root, request["state"]
        self.done, self.digest = set(request["done"]), request["digest"]
        self.sources = [str(root / source) for source in request["sources"]]
        self.coverage = coverage.Coverage(data_file=None, config_file=False, include=self.sources)
        self.context, self.seconds, self.outcomes = "", 0.0, set()

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.nodeid not in self.done]

    def pytest_sessionstart(self):
        self.coverage.start()

    def pytest_sessionfinish(self):
        self.coverage.stop()

    def _enter(self, context):
        self.coverage.switch_context(context)
        self.context = context

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        before = self.context
        if fixturedef.scope != "function":
            self._enter(f"fixture {fixturedef.argname}")
        try:
            return (yield)
        finally:
            self._enter(before)

    def pytest_runtest_logreport(self, report):
        self.seconds += report.duration
        self.outcomes.add(report.outcome)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.seconds, self.outcomes = 0.0, set()
        self._enter(item.nodeid)
        try:
            return (yield)
        finally:
            self._enter("")
            self._record(item)

    def _record(self, item):
        worst = max(self.outcomes, key=["passed", "skipped", "failed"].index)
        record = {"kind": "test", "test": item.nodeid, "digest": self.digest, "outcome": worst}
        if worst == "passed":
            contexts = [item.nodeid, *(f"fixture {name}" for name in item.fixturenames)]
            record |= {"seconds": round(self.seconds, 3), "lines": self._lines(contexts)}
        line = "\n" + json.dumps(record)
        descriptor = os.open(self.state, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, line.encode())  # in one piece: processes share the file
        finally:
            os.close(descriptor)

    def _lines(self, contexts):
        """Executed lines of each source, its path relative to the checkout."""
        data, lines = self.coverage.get_data(), {}
        for context in contexts:
            data.set_query_context(context)
            for source in data.measured_files():
                if executed := data.lines(source):
                    lines.setdefault(os.path.relpath(source, self.root), set()).update(executed)
        return {source: sorted(numbers) for source, numbers in sorted(lines.items())}
