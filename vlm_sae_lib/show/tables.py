"""Tables of results: every number beside its interval, its n, its control and the paper's value."""

from collections.abc import Sequence

import pandas as pd

from vlm_sae_lib.records.results import Results
from vlm_sae_lib.show.style import number, with_interval


def results_table(results: Results, names: Sequence[str] | None = None, digits: int = 3) -> pd.DataFrame:
    """One row per result: value with its 95 % interval, n, controls with theirs, the paper's value, the verdict."""
    recorded = results.as_dict()["results"]
    rows = []
    for name in names or recorded:
        entry = recorded[name]
        controls = [
            f"{label}: {with_interval(c['value'], c['ci_low'], c['ci_high'], digits)}"
            for label, other in entry["controls"].items()
            for c in [recorded[other]]
        ]
        rows.append({
            "result": name,
            "ours [95 % interval]": with_interval(entry["value"], entry["ci_low"], entry["ci_high"], digits),
            "n": "–" if entry["n"] is None else str(entry["n"]),
            "control": "; ".join(controls) or "–",
            "paper": number(entry["paper_value"], digits),
            "source": entry["source"] or "–",
            "verdict": entry["verdict"] or "–",
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("result")
