"""GoogleTest programs on a GPU, where one bad access or hang spoils what follows in its process.

Every suite runs in a process of its own. Behind a crash, a hang or an error that the CUDA context
does not survive, the tests that are left run in a new process.
"""
import re

from harness import Failed

# Errors after which every call of the context fails: the first test that shows one is to blame.
LASTING = re.compile(r"cudaError(IllegalAddress|LaunchFailure|MisalignedAddress|IllegalInstruction|"
                     r"InvalidPc|InvalidAddressSpace|HardwareStackError|Assert|LaunchTimeout|"
                     r"EccUncorrectable|Unknown)\b")
MOST_PROCESSES = 8  # of one suite
RESULT = re.compile(r"\[ +(RUN|OK|FAILED|SKIPPED) +\] (\S+?)(?:, where .*)?(?: \(\d+ ms\))?$")


def suites_of(place, program, pattern):
    """{suite: [test]} of those that a pattern matches."""
    listed = place.call([place.program(program), "--gtest_list_tests", f"--gtest_filter={pattern}"])
    suites, suite = {}, None
    for line in listed.stdout.splitlines():
        name = line.split("#")[0].rstrip()
        if name.startswith("  ") and suite:
            suites.setdefault(suite, []).append(suite + name.strip())
        elif re.fullmatch(r"\S+\.", name):
            suite = name
    return suites


def parse(output):
    """[(test, 'passed' | 'failed' | 'skipped' | 'cut short', text)] in the order they ran."""
    results, running, text = [], None, []
    for line in output.splitlines():
        found = RESULT.match(line)
        if not found:
            text.append(line.strip())
        elif found[1] == "RUN":
            running, text = found[2], []
        elif running == found[2]:
            status = {"OK": "passed", "FAILED": "failed", "SKIPPED": "skipped"}[found[1]]
            results.append((running, status, " ".join(" ".join(text).split())))
            running = None
    if running:
        results.append((running, "cut short", " ".join(text)[-200:]))
    return results


def run_suite(place, program, tests, limit):
    """[(test, status, why)]; a test that no process reached is 'failed', too."""
    results, left = [], list(tests)
    for _ in range(MOST_PROCESSES):
        done = place.call([place.program(program), f"--gtest_filter={':'.join(left)}"],
                          check=False, limit=limit)
        here = []
        for test, status, text in parse(done.stdout):
            if test not in left:
                continue
            if status == "cut short":
                status, text = "failed", f"ended with {done.returncode} in it: {text}"
            here.append((test, status, text))
            if status == "failed" and LASTING.search(text):
                break
        results += here
        reached = {test for test, _, _ in here}
        left = [test for test in left if test not in reached]
        if not left or not here:
            break
    return results + [(test, "failed", "was not reached") for test in left]


def run_tests(place, record, name, program, pattern, limit):
    """Each failed test is a result of its own; a suite may last `limit` seconds in each process."""
    suites = suites_of(place, program, pattern)
    if not suites:
        raise Failed(f"no test of {program} matches {pattern}")
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for tests in suites.values():
        for test, status, why in run_suite(place, program, tests, limit):
            counts[status] += 1
            if status == "failed":
                record(test, status="failed", why=why[:300])
    good = counts["passed"] and not counts["failed"]
    record(name, status="passed" if good else "failed", figures=counts,
           why=f"{counts['failed']} tests failed, {counts['passed']} passed")
