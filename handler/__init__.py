"""The TorchServe adapter; imports `model`, never `training`."""
