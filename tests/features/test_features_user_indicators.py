"""Indicators from a file of one's own are ordinary Python: classes, dataclasses, files of one name."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from alphaloop.errors import InputError
from features.compute.batch import backfill
from features.compute.stream import FeatureStream
from features.feature_set import FeatureSet
from features.user_indicators import load_user_indicators

WITH_DATACLASS = '''
from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from features.engine.indicator import indicator
from features.engine.operators.window import Window


class Side(Enum):
    UP = 1


@dataclass(frozen=True, slots=True)
class Share:
    """A dataclass with a field of its own type, which is looked up by the module's name."""

    scale: float
    side: Side = Side.UP
    parts: tuple[Side, ...] = field(default=(Side.UP,))

    def __call__(self, values):
        return self.scale * (values[..., -1] / values[..., 0] - 1) * self.side.value


@indicator(inputs=("close",), group="own")
def scaled(length: int = 4):
    """A return of one's own, scaled."""
    return Window(Share({scale}), length)
'''


def _own(folder: Path, scale: float) -> Path:
    folder.mkdir()
    path = folder / "own.py"
    path.write_text(WITH_DATACLASS.replace("{scale}", str(scale)))
    return path


def test_a_dataclass_in_a_file_of_ones_own_works(tmp_path: Path, real_bars: BarPanel) -> None:
    """Batch and stream give the same, and the values are those of the formula."""
    chosen = FeatureSet(("scaled(4)",), indicators=load_user_indicators(_own(tmp_path / "one", 2.0)))
    whole = backfill(real_bars, chosen).values
    close = real_bars.close
    np.testing.assert_allclose(whole[10, :, 0], 2 * (close[10] / close[7] - 1), rtol=1e-5)
    stream = FeatureStream(chosen, real_bars.symbols, real_bars.between(end=real_bars.at(19).timestamp))
    np.testing.assert_array_equal(stream.update(real_bars.at(20)), whole[20])


def test_files_of_the_same_name_do_not_meet(tmp_path: Path, real_bars: BarPanel) -> None:
    """Two folders with an `own.py` each keep their own classes, and these are copied and pickled."""
    (one,), (other,) = (
        load_user_indicators(_own(tmp_path / name, scale)) for name, scale in (("one", 1.0), ("other", 3.0))
    )
    for indicator, scale in ((one, 1.0), (other, 3.0), (one, 1.0)):
        share = indicator.factory(4).function
        for made in (copy.deepcopy(share), pickle.loads(pickle.dumps(share))):
            assert made == share
        chosen = FeatureSet(("scaled(4)",), indicators=[indicator])
        values = backfill(real_bars, chosen).values[10, :, 0]
        np.testing.assert_allclose(values, scale * (real_bars.close[10] / real_bars.close[7] - 1), rtol=1e-5)


def test_a_file_that_fails_leaves_no_module(tmp_path: Path) -> None:
    """The line that failed is named, and nothing half made stays behind."""
    path = tmp_path / "broken_of_mine.py"
    path.write_text("from dataclasses import dataclass\n\n@dataclass\nclass A:\n    x: int = 1\n    y: str\n")
    with pytest.raises(InputError, match=r"broken_of_mine\.py, line 3: TypeError"):
        load_user_indicators(path)
    assert not any("broken_of_mine" in name for name in sys.modules)
