"""llama-server, driven: found, asked what it is and which devices it offers."""
