"""Where every byte goes."""
