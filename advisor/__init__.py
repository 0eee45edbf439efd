"""What is true: hardware, models, memory, speed and the choice between them. Knows no screen."""
