"""Dates are read from text as independent readers have them, and counts of a unit come back as the dates they were."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from bugs import bug
from hypothesis import given, settings, strategies as st

from inkwash.data import dates
from inkwash.data.dates import DayOrMonthFirstError, counts_at, counts_of, dumps, parse_dates, values_of

parser = pytest.importorskip("dateutil.parser")
WHEN = datetime(2024, 12, 31, 17, 5, 9, 250000)
FORMS = {
    "%Y-%m-%d": "D",
    "%Y/%m/%d": "D",
    "%d.%m.%Y": "D",
    "%d/%m/%Y": "D",
    "%m/%d/%Y": "D",
    "%d-%b-%Y": "D",
    "%b %d, %Y": "D",
    "%B %d %Y": "D",
    "%a, %d %b %Y %H:%M:%S GMT": "s",
    "%Y-%m-%dT%H:%M": "m",
    "%Y-%m-%d %H:%M:%S": "s",
    "%d/%m/%Y %I:%M %p": "m",
    "%Y-%m-%dT%H:%M:%S.%f": "us",
    "%Y-%m-%dT%H:%M:%S.%fZ": "us",
    "%Y-%m": "M",
    "%b %Y": "M",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_read_as_an_independent_parser_reads_them(form):
    texts = [when.strftime(form) for when in (WHEN, WHEN - timedelta(days=200))]
    values, resolution, _ = parse_dates(texts)
    expected = [parser.parse(text, dayfirst=form.startswith("%d"), default=datetime(1, 1, 1)) for text in texts]
    assert resolution == FORMS[form]
    assert values.astype(f"datetime64[{resolution}]").astype("datetime64[us]").tolist() == [
        when.replace(tzinfo=None) for when in expected
    ]


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-02-30"],
        ["2024-13-01"],
        ["13/01/2024", "01/13/2024"],
        ["1/2/24"],
        ["10:30"],
        ["2024-01-01", "soon"],
        ["2024-01-01T10:00", "2024-01-01T10:00Z"],
        ["25.12.2024 13:00 pm"],
        ["Maybe 2024"],
        ["00501"],
        [],
    ],
)
def test_what_is_no_date_is_none(texts):
    assert parse_dates(texts) is None


def month_first(pairs):
    return False


@bug("the month always comes first", dates, "_day_first", month_first)
def test_day_or_month_is_decided_by_the_column_or_not_at_all():
    found = parse_dates(["03/04/2024", "13/04/2024"])
    assert found is not None
    assert [str(day) for day in found[0].astype("datetime64[D]")] == ["2024-04-03", "2024-04-13"]
    for text in ("03/04/2024", "3-4-2024"):
        with pytest.raises(DayOrMonthFirstError):
            parse_dates([text])
        day, month = (parse_dates([text], first)[0].astype("datetime64[D]")[0].item() for first in (True, False))
        assert (day.month, day.day, month.month, month.day) == (4, 3, 3, 4)
    assert parse_dates(["03/03/2024"])[0].astype("datetime64[D]")[0].item().isoformat() == "2024-03-03"


def test_offsets_are_one_zone_or_utc():
    assert parse_dates(["2024-01-01T10:00+0100"])[1:] == ("m", "+01:00")
    values, _, zone = parse_dates(["2024-01-01T10:00+01:00", "2024-07-01T10:00+02"])
    assert zone == "UTC"
    assert [str(each) for each in values.astype("datetime64[m]")] == ["2024-01-01T09:00", "2024-07-01T08:00"]


ZONES = ["UTC", "+05:30", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe"]
UNITS = {"D": 86400, "h": 3600, "m": 60, "s": 1}


def never_local(values, zone):
    return values.astype("datetime64[us]")


@bug("midnights of a zone are those of UTC", dates, "to_local", never_local)
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-(10**9), 4 * 10**9), min_size=1, max_size=8),
    st.sampled_from([*UNITS]),
    st.sampled_from([None, *ZONES]),
)
def test_counts_come_back_as_the_moments_they_were(seconds, unit, zone):
    """Also those of hours that a clock shows twice; a day is counted where all are midnights of their zone."""
    values = np.array([second // UNITS[unit] * UNITS[unit] for second in seconds], "datetime64[s]")
    values = np.append(values, np.array("NaT", values.dtype))
    counts, resolution = counts_of(values, zone)
    back = values_of(counts, "datetime64", resolution, zone)
    assert np.array_equal(back, values, equal_nan=True)
    assert np.array_equal(counts_at(values, resolution, zone), counts, equal_nan=True)
    texts = dumps(values, "s", zone)
    assert texts[-1] == ""
    read = parse_dates([f"{text}Z" if zone is None else text[:19] + "Z" for text in texts[:-1]])
    if zone in (None, "UTC"):
        assert np.array_equal(read[0].astype("datetime64[s]"), values[:-1])
    else:
        assert [datetime.fromisoformat(text).timestamp() for text in texts[:-1]] == values[:-1].astype(int).tolist()


def test_midnights_of_a_zone_are_days():
    berlin = ZoneInfo("Europe/Berlin")
    moments = [datetime(2024, month, 3, tzinfo=berlin).astimezone(UTC).replace(tzinfo=None) for month in (1, 4, 7)]
    counts, resolution = counts_of(np.array(moments, "datetime64[ns]"), "Europe/Berlin")
    assert resolution == "D"
    assert [str(each) for each in counts.astype(int).astype("datetime64[D]")] == [
        "2024-01-03",
        "2024-04-03",
        "2024-07-03",
    ]


@pytest.mark.parametrize(
    ("values", "resolution"),
    [
        (["2024-01-01", "2023-01-01"], "Y"),
        (["2024-02-01", "NaT"], "M"),
        (["2024-02-03"], "D"),
        (["2024-02-03T05:30"], "m"),
        (["2024-02-03T05:30:00.001"], "ms"),
    ],
)
def test_the_resolution_is_the_coarsest_unit_that_holds_all(values, resolution):
    assert counts_of(np.array(values, "datetime64[ns]"))[1] == resolution


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "Europe/Berlin"])
def test_the_ends_of_the_calendar_and_local_mean_times_come_back(zone):
    """Sentinels such as 9999-12-31, which a clock of Python cannot show in every zone, and offsets with seconds."""
    values = np.array(["9999-12-31T23:59", "0001-01-01T00:00", "1850-06-01T10:00", "NaT"], "datetime64[s]")
    counts, resolution = counts_of(values, zone)
    assert np.array_equal(values_of(counts, "datetime64", resolution, zone), values, equal_nan=True)
    texts = dumps(values[2:], "s", zone)
    assert texts[1] == ""
    assert datetime.fromisoformat(texts[0]).timestamp() == values[2].astype(int)


def test_durations_have_no_months():
    counts, resolution = counts_of(np.array([90, -30, "NaT"], "timedelta64[m]").astype("timedelta64[ns]"))
    assert (counts[:2].tolist(), resolution) == ([90, -30], "m")
    assert values_of(counts, "timedelta64", "m").astype("timedelta64[s]").astype(int)[:2].tolist() == [5400, -1800]
