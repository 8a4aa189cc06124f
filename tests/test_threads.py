"""Jobs side by side: the same results in the same order, whatever the number of threads."""

import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.qap_speed import make_arrays
from xling.analysis.inference.associations import infer_associations
from xling.analysis.inputs.measurements import Resampling
from xling.errors import XlingValueError
from xling.machine.threads import map_in_threads


def test_results_come_in_the_order_of_the_jobs_and_from_several_threads():
    seen = set()

    def wait(seconds):
        seen.add(threading.get_ident())
        time.sleep(seconds)
        return seconds

    jobs = [0.05, 0.0, 0.02, 0.01]
    assert list(map_in_threads(wait, jobs, workers=4)) == jobs
    assert len(seen) > 1
    assert threading.get_ident() not in seen
    assert list(map_in_threads(wait, jobs, workers=1)) == jobs
    assert threading.get_ident() in seen


def test_an_error_in_a_thread_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(lambda n: 1 // n, [1, 0], workers=2))


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "2"])
def test_other_numbers_of_threads_are_refused(workers):
    with pytest.raises(XlingValueError, match="expected workers as a whole number of at least 1, or null"):
        list(map_in_threads(abs, [1], workers=workers))


def test_no_number_depends_on_the_number_of_threads():
    arrays = make_arrays(n_languages=9, n_outcomes=3)
    arrays = replace(arrays, outcomes=np.where(np.arange(72) == 5, np.nan, arrays.outcomes))
    alone, together = (infer_associations(arrays, arrays, Resampling(200, workers=n)) for n in (1, 4))
    pd.testing.assert_frame_equal(alone, together, check_exact=True)
