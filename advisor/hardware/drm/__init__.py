"""AMD and Intel GPUs through the files of Linux's graphics drivers."""
