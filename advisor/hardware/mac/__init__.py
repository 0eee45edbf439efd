"""Apple silicon: sysctl, ioreg and Metal."""
