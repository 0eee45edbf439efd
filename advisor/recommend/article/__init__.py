"""Everything worth reading about one model on one machine: the tables of show and compare."""
