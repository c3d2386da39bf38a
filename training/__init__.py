"""Training and scoring of captioners. Imports `model`, and none of the other packages."""
