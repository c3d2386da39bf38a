"""Benchmarks of speed, memory and agreement, each against a baseline measured in the same run.

``python -m benchmarks``, or ``captioner bench``, runs them. The table in `benchmarks.catalog` lists
them; the module of a benchmark's name has the function ``bench(options)`` that runs it and returns
a `benchmarks.report.Report`. To add a benchmark, write such a module and add its row to the table.
"""
