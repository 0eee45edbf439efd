"""The best configurations of one model on one machine for a goal: quality, speed, context or balance."""
