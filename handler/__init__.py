"""Requests -> `model.Captioner` -> replies, and the TorchServe adapter around them.

`handler.service` answers requests for any server; only captioner_handler.py, routes and metrics are
made for TorchServe. A worker's archive holds this package and `model`, which is all it imports.
"""
