"""Line plots as SVG, without any library: what the runs of many machines draw."""

from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 380, 70, 40, 170, 50
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def nice(most):
    """A round number that is not smaller."""
    step = 10 ** (len(str(int(max(most, 1)))) - 1)
    while step * 5 > most and step > most / 50 and step > 0.01:
        step /= 2 if str(step)[0] != "5" else 2.5
    return step * -(-most // step)


def lines(title, across, up, series, wide=False):
    """Each series is a dictionary from x to y; x are placed evenly unless `wide` asks for their true distances."""
    xs = sorted({x for points in series.values() for x in points})
    most = nice(max(y for points in series.values() for y in points.values()))
    inner_w, inner_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    span = (xs[-1] - xs[0]) or 1
    at_x = lambda x: LEFT + inner_w * ((x - xs[0]) / span if wide else xs.index(x) / max(len(xs) - 1, 1))
    at_y = lambda y: TOP + inner_h * (1 - y / most)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>', f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>']
    for part in range(5):
        y = most * part / 4
        out.append(f'<path d="M{LEFT} {at_y(y):.1f}H{LEFT + inner_w}" stroke="#ddd"/><text x="{LEFT - 6}" y="{at_y(y) + 4:.1f}" text-anchor="end">{y:,.4g}</text>')
    for x in xs if not wide else [xs[0] + span * part / 4 for part in range(5)]:
        out.append(f'<text x="{at_x(x) if not wide else LEFT + inner_w * (x - xs[0]) / span:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:,.4g}</text>')
    out.append(f'<text x="{LEFT + inner_w / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(across)}</text>')
    out.append(f'<text x="16" y="{TOP + inner_h / 2}" text-anchor="middle" transform="rotate(-90 16 {TOP + inner_h / 2})">{escape(up)}</text>')
    for n, (name, points) in enumerate(series.items()):
        colour = COLOURS[n % len(COLOURS)]
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in sorted(points.items()))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(points) < 40:
            out += [f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in points.items()]
        out.append(f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 14 + 18 * n}" fill="{colour}">{escape(name)}</text>')
    return "\n".join(out) + "\n</svg>\n"
