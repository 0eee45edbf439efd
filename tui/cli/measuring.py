"""``llmfit hardware --measure``: the machine with its RAM's bandwidth measured now."""

from __future__ import annotations

import sys

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.machine import Machine
from llmfit.tui.llama_servers import asked_afresh
from llmfit.tui.session import Values, machine_from

_OTHER_MACHINES = ("gpu", "machine", "ram", "ram_bandwidth")


def measured_machine(values: Values) -> Machine:
    """This machine with the figure just measured, or with a note why it was not kept; about 3 s.

    Progress goes to stderr. Raises UsageError where options describe another machine, LlmfitError where it
    cannot be measured.
    """
    from llmfit.advisor.hardware.bandwidth.measure import thread_counts
    from llmfit.advisor.hardware.bandwidth.remembered import measure_and_remember, with_measurement

    for name in _OTHER_MACHINES:
        if values.get(name) is not None:
            option = name.replace("_", "-")
            raise UsageError("--measure", f"contradicts --{option}", "It measures this machine as it is.")
    machine = machine_from(values, find_server=True, ask_servers=asked_afresh)
    counts = thread_counts(machine.cpu)
    threads = f"{' and '.join(map(str, counts))} {'thread' if counts[-1] == 1 else 'threads'}"
    sys.stderr.write(f"Measuring the RAM's bandwidth with {threads}, about 3 s…\n")
    sys.stderr.flush()
    measured = measure_and_remember(machine)
    return machine if measured is None else with_measurement(machine, measured)
