"""What a model is: its header, its tensors, its shape."""
