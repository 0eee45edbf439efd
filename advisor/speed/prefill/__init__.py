"""How long a prompt takes: operations, reads and copies of its ubatches."""
