"""The report of the kernels' resources: it stops where a kernel that it speaks of has another name."""

from __future__ import annotations

import kernel_resources
import pytest


def test_a_kernel_of_another_name_stops_the_report():
    kernels = [kernel_resources.Kernel("rank_scan.cu", "count_by_row<float, 2>", threads=256)]
    with pytest.raises(SystemExit, match=r"expected a kernel count_by_row<float, false>, found count_by_row<float, 2>"):
        kernel_resources.gather_facts(kernels, {}, None)
