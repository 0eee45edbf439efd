"""The inverse question: which GPUs or machines run a model, and what they cost to buy."""
