from __future__ import annotations

import pytest

from training.data import problems
from training.data.problems import InvalidDataset, Problem


def test_too_large_a_share_of_photos_with_faults_is_refused() -> None:
    names = {f"{i}.jpg" for i in range(10)}
    faults = [Problem(problems.LONG_CAPTION, "0.jpg"), Problem(problems.EMPTY_CAPTION, "0.jpg")]
    notices = [Problem(kind, f"{i}.jpg") for i in range(9) for kind in problems.NOTICES]
    problems.check_share([*faults, *notices], names, 0.1, "here")
    faults += [Problem(problems.MISSING, f"m{i}.jpg") for i in range(4)]
    message = r"here: 5 of 14 photos have problems, allowed are 10\.0%: .*4 x missing photo: m0"
    with pytest.raises(InvalidDataset, match=message):
        problems.check_share(faults, names, 0.1, "here")
    with pytest.raises(InvalidDataset, match="1 of 1 photos have problems"):
        problems.check_share(faults[:1], {"0.jpg"}, 1.0, "here")
