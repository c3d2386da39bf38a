"""The ASGI app: the routes of TorchServe's inference API, answered without TorchServe.

One process speaks HTTP and computes nothing: it imports no torch. It starts worker processes, each
with a captioner, and hands them requests in batches.
"""
