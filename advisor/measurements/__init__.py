"""What was measured on this computer: kept in a file, read from llama-bench, turned into a calibration."""
