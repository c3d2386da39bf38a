"""Converts checkpoints of the PyTorch image-captioning tutorial, without running them."""
