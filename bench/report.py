"""From measured rows to text: a line, the Markdown table, SVG bars. No measuring in here."""

import datetime
import pathlib
import platform
import statistics

import suite

MARK = "<!-- figures below are written by bench/run -->"


def peer(row, figure="median_ns"):
    return min(row[p][figure] for p in ("onnxruntime", "openvino"))


def ratio(row, figure="median_ns"):
    return peer(row, figure) / row["fcc"][figure]


def share_of_peak(row):
    return row["flops"] / row["fcc"]["median_ns"] / row["peak_gflops"]


def share_of_limit(row):
    """What the machine allows (arithmetic at its peak, bytes at its bandwidth) over what a run took."""
    return row.get("limit_ns", 0) / row["fcc"]["median_ns"]


def holds(row):
    return ratio(row) >= row["target"] or share_of_limit(row) >= suite.LIMIT


def milliseconds(ns):
    return f"{ns / 1e6:.4g}"


def cells(row):
    verdict = "yes" if ratio(row) >= row["target"] else "at the limit" if holds(row) else "**no**"
    return [row["model"], str(row["threads"]), milliseconds(row["fcc"]["median_ns"]), milliseconds(row["onnxruntime"]["median_ns"]),
            milliseconds(row["openvino"]["median_ns"]), f"{ratio(row):.2f}", f"{ratio(row, 'min_ns'):.2f}", f"{row['target']:g}",
            f"{100 * share_of_peak(row):.0f} %", f"{100 * share_of_limit(row):.0f} %", verdict]  # fmt: skip


HEADER = ["model", "threads", "fcc ms", "onnxruntime ms", "OpenVINO ms", "better peer / fcc", "of minima", "goal", "of FMA peak",
          "of the limit", "reached"]  # fmt: skip


def line(row):
    return "| " + " | ".join(cells(row)) + " |"


def table(rows):
    return "\n".join(["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER), *map(line, rows)])


def summary(rows):
    ratios = [ratio(r) for r in rows]
    worst = min(rows, key=ratio)
    return (f"{len(rows)} rows: geometric mean {statistics.geometric_mean(ratios):.2f}, worst {ratio(worst):.2f} "
            f"({worst['model']}, {worst['threads']} threads), {sum(map(holds, rows))} reach their goal")  # fmt: skip


def cpu_name():
    for text in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            return text.split(":", 1)[1].strip()
    return platform.processor()


def svg(rows, threads):
    """Bars of peer / fcc, one a model: longer is faster than the better peer."""
    rows = [r for r in rows if r["threads"] == threads]
    height, left, scale = 18, 170, 90
    end = max(4.0, min(6.0, max(map(ratio, rows))))
    width = left + int(end * scale) + 60
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height * len(rows) + 40}" '
           f'font-family="sans-serif" font-size="12">',
           f'<text x="{left}" y="14">better peer / fcc, {threads} thread{"s" if threads > 1 else ""} (1 = as fast)</text>']
    for i, row in enumerate(rows):
        y, value = 24 + i * height, ratio(row)
        color = "#2a7f4f" if value >= 1 else "#b5482a"
        out.append(f'<text x="{left - 6}" y="{y + 12}" text-anchor="end">{row["model"]}</text>')
        out.append(f'<rect x="{left}" y="{y + 2}" width="{int(min(value, end) * scale)}" height="{height - 5}" fill="{color}"/>')
        out.append(f'<text x="{left + int(min(value, end) * scale) + 4}" y="{y + 12}">{value:.2f}</text>')
    out.append(f'<line x1="{left + scale}" y1="20" x2="{left + scale}" y2="{24 + height * len(rows)}" stroke="#444"/></svg>')
    return "\n".join(out) + "\n"


def write(rows, failures, docs):
    """Replaces everything below the mark of docs/performance.md; what stands above it is written by people."""
    page = docs / "performance.md"
    above = page.read_text().split(MARK)[0].rstrip() if page.exists() else "# Performance"
    threads = sorted({r["threads"] for r in rows})
    peaks = ", ".join(f"{max(r['peak_gflops'] for r in rows if r['threads'] == t):.0f} GFLOP/s with {t}" for t in threads)
    versions = ", ".join(f"{k} {v}" for k, v in rows[0]["versions"].items())
    parts = [above, MARK, f"## Measured\n{datetime.date.today()}, {cpu_name()}; multiply-add peak {peaks} threads; {versions}; "
             f"f32, batch 1 unless said. Medians; a ratio above 1 means that fcc is faster.", summary(rows) + ".", table(rows)]
    if failures:
        parts.append("Not measured:\n" + "\n".join(f"- {f}" for f in failures))
    for t in threads:
        name = f"performance_{t}.svg"
        (docs / name).write_text(svg(rows, t))
        parts.append(f"![{t} threads]({name})")
    page.write_text("\n\n".join(parts) + "\n")
