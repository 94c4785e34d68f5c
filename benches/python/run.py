"""Does the work of one subject once, and prints how long it took as JSON: run.py SCENARIO SUBJECT COUNT DIRECTORY PREFIX.

Exits with 77 where a module is not installed. PREFIX: what the names of objects outside DIRECTORY begin with.
"""

import sys

NOT_INSTALLED = 77


def main() -> None:
    scenario, subject, count, directory, prefix = sys.argv[1:]
    try:
        if scenario == "py-numpy-8m":
            import arrays

            arrays.one_way(subject, int(count), directory, prefix)
            return
        import locks
        import messages

        scenarios = {
            "py-oneway-64": messages.one_way,
            "py-batch-64": messages.batches,
            "py-rtt-64": messages.round_trips,
            "py-mutex-pair": locks.pairs,
        }
        scenarios[scenario](subject, int(count), directory, prefix)
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        sys.exit(NOT_INSTALLED)


main()
