"""Plots as inline SVG, drawn with the colours of the page that they stand in."""

from collections.abc import Mapping, Sequence
from html import escape

from evals.statistics import Interval

_LEFT, _WIDTH, _ROW = 180, 420, 24


def bars(figures: Sequence[tuple[str, Interval, float | None]]) -> str:
    """Draw shares as bars with their intervals; a dashed line is the share of before."""
    height = _ROW * len(figures) + 24
    parts = [_axis(height)]
    for row, (name, share, was) in enumerate(figures):
        top = row * _ROW + 4
        middle = top + 8
        parts.append(f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="bar" x="{_LEFT}" y="{top}" width="{share.value * _WIDTH:.1f}" height="16" rx="2"/>')
        parts.append(_reach(share, middle))
        if was is not None:
            x = _LEFT + was * _WIDTH
            parts.append(f'<line class="was" x1="{x:.1f}" y1="{top - 2}" x2="{x:.1f}" y2="{top + 18}"/>')
        parts.append(f'<text x="{_LEFT + _WIDTH + 8}" y="{middle + 4}">{share.value:.0%}</text>')
    return _svg(_LEFT + _WIDTH + 60, height, parts, "Share passed, by scorer")


def _axis(height: int) -> str:
    marks = [
        f'<line class="axis" x1="{_LEFT + at * _WIDTH:.0f}" y1="0" x2="{_LEFT + at * _WIDTH:.0f}" y2="{height - 18}"/>'
        f'<text class="soft" x="{_LEFT + at * _WIDTH:.0f}" y="{height - 4}" text-anchor="middle">{at:.0%}</text>'
        for at in (0, 0.25, 0.5, 0.75, 1)
    ]
    return "".join(marks)


def _reach(share: Interval, y: int) -> str:
    low, high = _LEFT + share.low * _WIDTH, _LEFT + share.high * _WIDTH
    ends = "".join(f'<line class="reach" x1="{x:.1f}" y1="{y - 4}" x2="{x:.1f}" y2="{y + 4}"/>' for x in (low, high))
    return f'<line class="reach" x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}"/>{ends}'


def line(name: str, values: Sequence[float]) -> str:
    """Draw one share over runs, oldest first."""
    step = _WIDTH / max(1, len(values) - 1)
    points = " ".join(f"{_LEFT + place * step:.1f},{44 - value * 40:.1f}" for place, value in enumerate(values))
    parts = [
        f'<text x="{_LEFT - 8}" y="28" text-anchor="end">{escape(name)}</text>',
        f'<line class="axis" x1="{_LEFT}" y1="44" x2="{_LEFT + _WIDTH}" y2="44"/><line class="axis" x1="{_LEFT}" y1="4" x2="{_LEFT + _WIDTH}" y2="4"/>',
        f'<polyline class="path" points="{points}"/>',
        f'<text x="{_LEFT + _WIDTH + 8}" y="28">{values[-1]:.1%}</text>',
    ]
    return _svg(_LEFT + _WIDTH + 60, 50, parts, f"{name} over runs")


def versions(name: str, points: Mapping[tuple[str, str], float]) -> str:
    """Draw the share passed over versions, a line for each who answers: (versions, who) -> share."""
    columns = list(dict.fromkeys(words for words, _ in points))
    whose = list(dict.fromkeys(who for _, who in points))
    step = _WIDTH / max(1, len(columns) - 1)
    height = 130 + 15 * len(columns)
    parts = [f'<text x="{_LEFT - 8}" y="60" text-anchor="end">{escape(name)}</text>', _levels()]
    for place, words in enumerate(columns):
        x = _LEFT + place * step
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="10" x2="{x:.1f}" y2="110"/>')
        parts.append(f'<text class="soft" x="{x:.1f}" y="124" text-anchor="middle">{place + 1}</text>')
        parts.append(f'<text class="soft" x="{_LEFT}" y="{142 + place * 15}">{place + 1}: {escape(words)}</text>')
    for row, who in enumerate(whose):
        kind = "other" if who == "rules" else ""
        own = [(place, points[words, who]) for place, words in enumerate(columns) if (words, who) in points]
        spots = [(_LEFT + place * step, 110 - share * 100, share) for place, share in own]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in spots)
        parts.append(f'<polyline class="path {kind}" points="{path}"/>')
        parts += [
            f'<circle class="bar {kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{escape(who)} {share:.1%}</title></circle>'
            for x, y, share in spots
        ]
        last, y, share = spots[-1]
        parts.append(f'<text x="{last + 9:.1f}" y="{y + 4 + 13 * row % 26:.1f}">{escape(who)} {share:.1%}</text>')
    return _svg(_LEFT + _WIDTH + 220, height, parts, f"{name} over versions")


def _levels() -> str:
    return "".join(
        f'<line class="axis" x1="{_LEFT}" y1="{110 - at * 100:.0f}" x2="{_LEFT + _WIDTH}" y2="{110 - at * 100:.0f}"/>'
        f'<text class="soft" x="{_LEFT - 8}" y="{114 - at * 100:.0f}" text-anchor="end">{at:.0%}</text>'
        for at in (0, 1)
    )


def scatter(points: Sequence[tuple[str, float, float]]) -> str:
    """Draw (label, USD, share passed): to the right is dearer, higher is better; the labels stand below by number."""
    floor = 190
    dearest = max((usd for _, usd, _ in points), default=0) or 1.0
    parts = [
        f'<line class="axis" x1="60" y1="{floor}" x2="{60 + _WIDTH}" y2="{floor}"/><line class="axis" x1="60" y1="10" x2="60" y2="{floor}"/>',
        f'<text class="soft" x="{60 + _WIDTH}" y="{floor + 18}" text-anchor="end">{dearest:.2f} USD</text>',
        f'<text class="soft" x="52" y="18" text-anchor="end">100%</text><text class="soft" x="52" y="{floor}" text-anchor="end">0%</text>',
    ]
    for number, (label, usd, share) in enumerate(points, 1):
        x, y = 60 + usd / dearest * (_WIDTH - 20) + 6, floor - share * (floor - 10)
        parts.append(
            f'<circle class="bar" cx="{x:.1f}" cy="{y:.1f}" r="5"/><text x="{x + 9:.1f}" y="{y + 4:.1f}">{number}</text>'
            f'<text x="60" y="{floor + 24 + number * 16}">{number}: {escape(label)}, {share:.1%}, {usd:.4f} USD</text>'
        )
    return _svg(_WIDTH + 260, floor + 34 + 16 * len(points), parts, "Cost against quality")


def _svg(width: int, height: int, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )
