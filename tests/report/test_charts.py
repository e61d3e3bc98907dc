"""Geometry of charts, and data that is written into a page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvue_async.report.building import data_script
from milvue_async.report.charts import bars, histogram, in_seconds


class TestTheScriptElement:
    @given(st.recursive(st.text() | st.integers() | st.none(), st.lists))
    def test_holds_any_data_and_no_data_ends_it(self, data: Any) -> None:
        element = str(data_script("x", ["</script><!--<script>\u2028&", data]))
        opening, closing = '<script type="application/json" id="x">', "</script>\n"
        assert element.startswith(opening)
        assert element.endswith(closing)
        inside = element[len(opening) : -len(closing)]
        assert not set(inside) & set("<>&\u2028\u2029")
        assert json.loads(inside)[1] == data


class TestCharts:
    def test_percentiles_are_times_that_were_measured(self) -> None:
        chart = histogram("upload", [0.0, *range(1, 101)])
        assert chart is not None
        assert (chart.count, chart.median, chart.p95, chart.greatest) == (100, 50, 95, 100)
        assert not chart.is_cut

    def test_a_few_that_took_long_do_not_squeeze_the_others(self) -> None:
        chart = histogram("upload", [*[1.0] * 50, *[2.0] * 50, 500.0])
        assert chart is not None
        assert chart.greatest == 4
        assert chart.is_cut
        assert chart.x(500.0) == 240

    @given(st.lists(st.floats(min_value=1e-3, max_value=1e6), min_size=1, max_size=50))
    def test_columns_stay_inside_and_the_highest_is_as_high_as_it_can(
        self, seconds: list[float]
    ) -> None:
        chart = histogram("upload", seconds)
        assert chart is not None
        assert all(
            x >= 0 and x + width <= 240 and y >= 0 and y + height == pytest.approx(60)
            for x, y, width, height in chart.columns
        )
        assert max(height for *_, height in chart.columns) == 60
        assert chart.median <= chart.p95

    def test_there_is_none_where_nothing_took_time(self) -> None:
        assert histogram("upload", [0.0, 0.0]) is None

    def test_bars_keep_their_order_and_unknown_kinds_follow(self) -> None:
        made = bars(["error", "odd", "done", "done", ""], ("done", "error"))
        assert [(bar.kind, bar.count, bar.share) for bar in made] == [
            ("done", 2, 100),
            ("error", 1, 50),
            ("odd", 1, 50),
        ]

    @pytest.mark.parametrize(
        ("seconds", "shown"),
        [
            (0.0512, "0.051 s"),
            (1.25, "1.25 s"),
            (12.04, "12 s"),
            (100.0, "100 s"),
            (1234.5, "1234 s"),
        ],
    )
    def test_seconds_have_three_digits(self, seconds: float, shown: str) -> None:
        assert in_seconds(seconds, "en") == shown
        assert in_seconds(seconds, "de") == shown.replace(".", ",")
