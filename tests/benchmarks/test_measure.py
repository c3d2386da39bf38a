from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.measure import described, in_new_process, in_turn, machine, ratio, rounds_within
from benchmarks.options import Options
from benchmarks.report import Line, Report, table, write_json


def test_runs_take_turns_after_one_to_warm_up() -> None:
    order: list[str] = []
    times = in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert "".join(order) == "ababab"
    assert [len(times[name]) for name in "ab"] == [2, 2]


def test_a_ratio_is_the_median_of_rounds() -> None:
    times = {"slow": [4.0, 90.0, 6.0], "fast": [1.0, 1.0, 3.0]}
    assert ratio(times, "slow", "fast") == 4.0


def test_a_new_process_returns_its_figures_or_its_error() -> None:
    code = "import os; print('noise'); print('{\"it\": ' + os.environ['IT'] + '}')"
    assert in_new_process(["-c", code], IT="3") == {"it": 3}
    with pytest.raises(RuntimeError, match=r"^ValueError: no$"):
        in_new_process(["-c", "raise ValueError('no')"])


def test_the_table_marks_values_that_miss_their_threshold() -> None:
    lines = [
        Line("speed", 3.0, "times", at_least=4),
        Line("memory", 812.4, "MB", at_most=900, digits=0),
        Line("seconds", 3.5, "s", at_most=3),
        Line("exactly", 1.0, "", at_least=1.0),
        Line("for information", 0.5, ""),
    ]
    assert table(lines).splitlines() == [
        "                 measured         threshold",
        "speed                3.00  times  at least 4   missed",
        "memory                812  MB     at most 900  ok",
        "seconds              3.50  s      at most 3    missed",
        "exactly              1.00         at least 1   ok",
        "for information      0.50",
    ]


def test_a_value_that_is_no_number_misses_its_threshold() -> None:
    assert Line("", float("nan"), "", at_least=1).verdict == "missed"
    assert Line("", float("nan"), "", at_most=1).verdict == "missed"


def test_json_holds_figures_lines_and_machine(tmp_path: Path) -> None:
    report = Report({"seconds": 1.5}, [Line("speed", 3.0, "times", at_least=4)])
    write_json(tmp_path / "out" / "bench.json", {"start": report}, {"machine": machine()})
    content = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert content["figures"] == {"start": {"seconds": 1.5}}
    assert content["lines"][0]["verdict"] == "missed"
    about = content["machine"]
    assert {"cpu", "flags", "cores", "threads", "torch", "timm", "pillow"} <= about.keys()
    assert described(about).startswith(" ".join([about["cpu"], *about["flags"]]) + "; ")
    assert f"; {about['threads']} threads of {about['cores']} cores; torch " in described(about)


def test_rounds_are_checked() -> None:
    with pytest.raises(ValueError, match="rounds is 0"):
        Options(Path("checkpoint"), rounds=0)


def test_rounds_for_which_there_is_no_time_are_left_out() -> None:
    assert list(rounds_within(3, math.inf)) == [0, 1, 2]
    assert list(rounds_within(3, 0)) == [0]
    assert list(rounds_within(3, 0, at_least=2)) == [0, 1]
