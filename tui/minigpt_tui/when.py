"""When something was, in words."""

from datetime import datetime

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 24 * 3600


def ago(then: float, now: float) -> str:
    """How long ago it was; after two weeks, the date.

    Args:
        then: seconds since 1970.
        now: as well; a clock that was put back makes everything "just now".

    >>> [ago(0, seconds) for seconds in (59, 60, 7200, 100_000, 200_000)]
    ['just now', '1 minute ago', '2 hours ago', 'yesterday', '2 days ago']
    """
    seconds = now - then
    if seconds < MINUTE_S:
        return "just now"
    if seconds < HOUR_S:
        return _some(seconds / MINUTE_S, "minute")
    if seconds < DAY_S:
        return _some(seconds / HOUR_S, "hour")
    if seconds < 2 * DAY_S:
        return "yesterday"
    if seconds < 14 * DAY_S:
        return _some(seconds / DAY_S, "day")
    return f"{datetime.fromtimestamp(then):%d %b %Y}"


def _some(number: float, unit: str) -> str:
    n = int(number)
    return f"{n} {unit}{'s' * (n != 1)} ago"
