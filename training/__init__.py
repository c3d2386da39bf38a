"""Training and scoring of captioners; imports `model`, never `handler`."""
