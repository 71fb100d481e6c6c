"""The gate's verdict as report.json and as one self-contained page, report.html."""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path

from taustack.models.gate import Verdict

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:64em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;width:100%}td,th{padding:.3em .6em;border-bottom:1px solid #ddd;text-align:left}
.no{background:#fde8e8}.verdict{font-size:1.4em;padding:.5em;border-radius:.3em}.pass{background:#e6f6e6}img{max-width:100%}"""


def write_report(folder: Path, verdict: Verdict) -> dict[str, Path]:
    """Write both files; returns them by name."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "report.json"
    data.write_text(json.dumps(verdict.as_data(), indent=1))
    page = folder / "report.html"
    page.write_text(as_page(verdict))
    return {data.name: data, page.name: page}


def as_page(verdict: Verdict) -> str:
    """HTML with its pictures inside."""
    about = "".join(f"<tr><td>{html.escape(key)}</td><td>{html.escape(str(value))}</td></tr>" for key, value in verdict.about.items())
    lines = "".join(
        f'<tr class="{"" if line.passed else "no"}"><td>{"ok" if line.passed else "NO"}</td><td>{html.escape(line.what)}</td><td>{line.candidate:.4g}</td>'
        f"<td>{line.live:.4g}</td><td>{html.escape(line.limit)}</td><td>{html.escape(line.reason)}</td></tr>"
        for line in verdict.lines
    )
    name = html.escape(str(verdict.about.get("robot", "")))
    said = "passed: it may be promoted" if verdict.passed else "refused: it does not reach a robot"
    pictures = "" if verdict.candidate.refused else f'<img alt="open-loop errors" src="data:image/png;base64,{_picture(verdict)}">'
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>gate: {name}</title><style>{STYLE}</style><h1>Gate of {name}</h1>'
        f'<p class="verdict {"pass" if verdict.passed else "no"}">{said}</p><table><tr><th></th><th>rule</th><th>candidate</th><th>live</th><th>limit</th>'
        f"<th>why</th></tr>{lines}</table>{pictures}<h2>What was judged</h2><table>{about}</table></html>"
    )


def failing(verdict: Verdict) -> list[str]:
    """The lines that did not pass, as text."""
    return [f"{line.what}: {line.candidate:.4g}, live {line.live:.4g}, limit {line.limit} ({line.reason})" for line in verdict.lines if not line.passed]


def _picture(verdict: Verdict) -> str:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.4), constrained_layout=True)
    for label, measured in (("live", verdict.live), ("candidate", verdict.candidate)):
        left.plot(list(measured.error), list(measured.error.values()), marker="o", label=label)
        middle.plot(list(measured.run_error.values()), marker=".", label=label)
    left.set(xlabel="steps", ylabel=f"open-loop error [{verdict.unit}]", yscale="log")
    middle.set(xlabel="held-out run", ylabel=f"error after H steps [{verdict.unit}]")
    places = range(len(verdict.candidate.suite))
    for offset, (label, measured) in enumerate((("live", verdict.live), ("candidate", verdict.candidate))):
        right.bar([p + 0.4 * offset for p in places], [100 * m["success_rate"] for m in measured.suite.values()], width=0.38, label=label)
    right.set_xticks([p + 0.2 for p in places], [Path(name).stem for name in verdict.candidate.suite])
    right.set(ylabel="success [%]", ylim=(0, 105))
    left.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()
