"""Judges a run of kazoo's suite from pytest's JUnit files.

usage: report.py --least N FIRST.xml [SECOND.xml]     judge; exit 1 unless at least N passed and nothing failed twice
       report.py --failed FIRST.xml                   print the failed tests, one pytest id per line

FIRST is the run, SECOND the run of what failed in FIRST. A test that passes the second time counts as passed and is
named; more than UNSTEADY_MAX of them fail the stage, because then it is no longer chance.
"""

import argparse
import sys
import xml.etree.ElementTree as ElementTree

UNSTEADY_MAX = 3


def pytest_id(class_name, name):
    """The id of a test. JUnit's class name is dotted: packages, the module test_…, then the class if there is one."""
    parts = class_name.split(".")
    module = next(index for index, part in enumerate(parts) if part.startswith("test_"))
    return "::".join(["/".join(parts[: module + 1]) + ".py"] + parts[module + 1 :] + [name])


def read_results(path):
    """pytest id -> "passed", "failed" or "skipped: reason"."""
    results = {}
    for case in ElementTree.parse(path).iter("testcase"):
        if not case.get("classname"):
            continue  # where a run was broken off
        test_id = pytest_id(case.get("classname"), case.get("name"))
        if case.find("failure") is not None or case.find("error") is not None:
            results[test_id] = "failed"
        elif case.find("skipped") is not None:
            results[test_id] = "skipped: " + case.find("skipped").get("message", "")
        else:
            results.setdefault(test_id, "passed")
    return results


def judge(first, second, least):
    failed = [test for test, result in first.items() if result == "failed"]
    unsteady = [test for test in failed if second.get(test) == "passed"]
    failed_twice = [test for test in failed if test not in unsteady]
    passed = sum(result == "passed" for result in first.values()) + len(unsteady)
    skipped = {test: result for test, result in first.items() if result.startswith("skipped")}
    for test in failed_twice:
        print("  failed twice:", test)
    for test in unsteady:
        print("  passed the second time only:", test)
    for test, result in skipped.items():
        print("  not in the list of deselected tests, but", result, "in", test)
    print(f"  {passed} passed (least {least}), {len(failed_twice)} failed, {len(skipped)} skipped")
    return passed >= least and not failed_twice and not skipped and len(unsteady) <= UNSTEADY_MAX


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--least", type=int)
    parser.add_argument("--failed", action="store_true")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    first = read_results(options.files[0])
    if options.failed:
        print("\n".join(test for test, result in first.items() if result == "failed"))
        return 0
    second = read_results(options.files[1]) if len(options.files) > 1 else {}
    return 0 if judge(first, second, options.least) else 1


if __name__ == "__main__":
    sys.exit(main())
