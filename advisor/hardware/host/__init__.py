"""CPU, RAM, disks and the limits under which this process runs."""
