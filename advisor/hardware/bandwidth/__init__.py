"""The RAM's bandwidth: measured on demand, remembered."""
