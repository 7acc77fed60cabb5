"""Plots as SVG, of bars beside each other or lines over a logarithmic axis; light and dark pages show both well."""

import math
from html import escape

WIDTH, BAR_HEIGHT, GAP, LABEL_WIDTH, FIGURE_WIDTH = 900, 18, 12, 330, 130
COLORS = {"kafka": "#8c8c8c", "milena": "#2f7de1", "floor": "#c9a227"}
NAMES = {"kafka": "Apache Kafka", "milena": "Milena", "floor": "floor"}
TEXT = "#777"
LINES_HEIGHT, MARGIN = 320, 60


def text(x, y, words, anchor="start", size=13):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}" fill="{TEXT}">{escape(words)}</text>'


def svg(height, parts):
    body = "\n".join(parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
            f'font-family="system-ui, sans-serif">\n{body}\n</svg>\n')


def legend(names, y):
    parts, x = [], LABEL_WIDTH
    for name in names:
        parts.append(f'<rect x="{x}" y="{y - 11}" width="12" height="12" fill="{COLORS[name]}"/>')
        parts.append(text(x + 18, y, NAMES[name]))
        x += 130
    return parts


def bars(title, groups, write):
    """`groups` is [(label, {broker: figure})]."""
    names = [name for name in COLORS if any(name in figures for _, figures in groups)]
    largest = max(figure for _, figures in groups for figure in figures.values())
    parts = [text(10, 24, title, size=16), *legend(names, 48)]
    y = 66
    for label, figures in groups:
        shown = [name for name in names if name in figures]
        parts.append(text(LABEL_WIDTH - 10, y + BAR_HEIGHT * len(shown) / 2 + 5, label, "end"))
        for name in shown:
            width = (WIDTH - LABEL_WIDTH - FIGURE_WIDTH) * figures[name] / largest
            parts.append(f'<rect x="{LABEL_WIDTH}" y="{y}" width="{max(1, width):.1f}" height="{BAR_HEIGHT - 2}" '
                         f'fill="{COLORS[name]}"/>')
            parts.append(text(LABEL_WIDTH + width + 6, y + BAR_HEIGHT - 5, write(figures[name]), size=12))
            y += BAR_HEIGHT
        y += GAP
    return svg(y, parts)


def lines(title, axis, curves, write, log_y=False):
    """`curves` is {broker: [(x, y)]}; x is logarithmic, y begins at 0 unless it is logarithmic too."""
    points = [point for curve in curves.values() for point in curve]
    xs = sorted({x for x, _ in points})
    bottom, top = value_range([y for _, y in points], log_y)
    span_x = max(1e-9, math.log10(xs[-1]) - math.log10(xs[0]))

    def place(x, y):
        if log_y:
            part = (math.log10(y) - math.log10(bottom)) / (math.log10(top) - math.log10(bottom))
        else:
            part = y / top
        across = MARGIN * 2 + (WIDTH - MARGIN * 3) * (math.log10(x) - math.log10(xs[0])) / span_x
        return across, LINES_HEIGHT - MARGIN - part * (LINES_HEIGHT - MARGIN * 2.4)

    parts = [text(10, 24, title, size=16), *legend(curves, 48)]
    for x in xs:
        parts.append(text(place(x, top)[0], LINES_HEIGHT - MARGIN + 22, f"{x:,}", "middle", 12))
    parts.append(text(WIDTH / 2, LINES_HEIGHT - 12, axis, "middle"))
    for level in levels(bottom, top, log_y):
        y = place(xs[0], level)[1]
        parts.append(f'<line x1="{MARGIN * 2}" x2="{WIDTH - MARGIN}" y1="{y:.0f}" y2="{y:.0f}" stroke="{TEXT}" '
                     f'stroke-opacity="0.25"/>')
        parts.append(text(MARGIN * 2 - 8, y + 4, write(level), "end", 12))
    for name, curve in curves.items():
        places = [place(x, y) for x, y in sorted(curve)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLORS[name]}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLORS[name]}"/>' for x, y in places]
    return svg(LINES_HEIGHT, parts)


def value_range(values, log_y):
    if not log_y:
        return 0, max(values) * 1.05
    values = [max(value, 1e-3) for value in values]
    bottom, top = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)))
    return bottom, top if top > bottom else bottom * 10


def levels(bottom, top, log_y):
    if log_y:
        return [10.0 ** power for power in range(round(math.log10(bottom)), round(math.log10(top)) + 1)]
    return [top / 1.05 * quarter / 4 for quarter in range(5)]
