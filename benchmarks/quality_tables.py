# pyright: reportAssignmentType=false, reportAttributeAccessIssue=false
"""Tables of the rows of `quality.py`: medians over classes and seeds, some with quartiles.

- every method with its defaults, and the two baselines, on the demo model;
- gradient modes and the other direction, compared with the defaults;
- equal cost: for each budget of passes (forwards and backwards per image pair), every method and mode with the maximum
  number of steps that fits: passes, CMD, on how many subjects it is lower than EAP-IG's at this budget (ties count
  half), and precision against exact noising; only the best methods that ran on every subject;
- circuits of methods that select edges, compared with EAP-IG's of the same size;
- planted models: the share of planted edges found.

Sections without rows are not printed.

    python benchmarks/quality_tables.py attention.csv --budgets 3 12 22 62
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pandas as pd

BASELINES = ("magnitude", "random")
WHERE = ["subject", "seed"]


def summary(values: pd.Series, digits: int = 2, *, quartiles: bool = False) -> str:
    """Return the median, optionally with quartiles in brackets."""
    values = values.dropna()
    if values.empty:
        return ""
    middle, low, high = (f"{values.quantile(q):.{digits}f}" for q in (0.5, 0.25, 0.75))
    return f"{middle} ({low} to {high})" if quartiles else middle


def markdown(rows: list[dict[str, str]]) -> str:
    """Return a Markdown table; empty if there are no rows."""
    if not rows:
        return ""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row.get(name, "") for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_row(frame: pd.DataFrame, rank: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows by name, sorted by the number of subjects and then by the median of `rank`."""
    named = [(str(name), rows) for name, rows in frame.groupby("row", sort=False)]
    return iter(sorted(named, key=lambda pair: (-len(pair[1]), pair[1][rank].median())))


def main_table(frame: pd.DataFrame) -> str:
    """Return the table of every method with its defaults, and exact denoising."""
    shown = frame[(frame["variant"] == "default") | (frame["row"] == "exact denoising")]
    reference = frame[frame["row"] == "eap-ig"]
    return markdown(
        [
            {
                "method": f"`{name}`" if name not in BASELINES else name,
                "n": str(len(rows)),
                "forwards + backwards": f"{summary(rows['forwards'], 0)} + {summary(rows['backwards'], 0)}",
                "work": summary(rows["work"], 0),
                "CPR": summary(rows["cpr"], quartiles=True),
                "CMD": summary(rows["cmd"], quartiles=True),
                "lower than EAP-IG's": wins(rows, reference) if name != "eap-ig" else "",
                "log CMD": summary(rows["log_cmd"]),
                "noising": summary(rows["p_noising"], quartiles=True),
                "denoising": summary(rows["p_denoising"], quartiles=True),
                "80 %": summary(rows["size80"], 0, quartiles=True),
                "kept": summary(rows["kept80"]),
            }
            for name, rows in by_row(shown, "cmd")
        ]
    )


def variants_table(frame: pd.DataFrame) -> str:
    """Return the table of CMD and precision against exact noising by method and mode or direction."""
    modes = [v for v in frame["variant"].unique() if "steps" not in v]
    rows = []
    for method, part in frame[~frame["method"].isin(BASELINES)].groupby("method", sort=False):
        if part["variant"].isin(modes).sum() == (part["variant"] == "default").sum():
            continue
        row = {"method": f"`{method}`"}
        for mode in modes:
            found = part[part["variant"] == mode]
            pair = f"{summary(found['cmd'])}, {summary(found['p_noising'])}" if len(found) else ""
            row["plain" if mode == "default" else mode] = pair
        rows.append(row)
    return markdown(rows)


def families(frame: pd.DataFrame) -> pd.Series:
    """Return the family of each row: its method and mode, whatever the steps."""
    return frame["row"].where(~frame["variant"].str.contains("steps"), frame["method"])


def affordable(frame: pd.DataFrame, budget: float) -> dict[str, pd.DataFrame]:
    """Return for every family the rows with the most passes within the budget."""
    frame = frame.assign(family=families(frame))
    passes = (frame["forwards"] + frame["backwards"]).groupby(frame["row"]).median()
    fits = frame[frame["row"].map(passes) <= budget + 0.5]
    return {
        str(family): rows[rows["row"] == passes[rows["row"].unique()].idxmax()]
        for family, rows in fits.groupby("family", sort=False)
    }


def wins(rows: pd.DataFrame, reference: pd.DataFrame) -> str:
    """Say on how many subjects the CMD of rows is lower (ties count half)."""
    lower = (reference.set_index(WHERE)["cmd"] - rows.set_index(WHERE)["cmd"]).dropna()
    score = float((lower > 1e-9).sum() + 0.5 * (lower.abs() <= 1e-9).sum())
    return f"{score:g} of {len(lower)}"


def equal_cost(frame: pd.DataFrame, budgets: list[float], best: int) -> str:
    """Return the table of passes, CMD, wins against EAP-IG and precision by family and budget."""
    frame = frame[~frame["method"].isin(BASELINES)]
    n = frame.groupby("row").size()
    frame = frame[frame["row"].map(n) == n.max()]  # ran on every subject
    at = {budget: affordable(frame, budget) for budget in budgets}
    ranked = {
        budget: sorted(found, key=lambda family, found=found: found[family]["cmd"].median())
        for budget, found in at.items()
    }
    shown = {family for families in ranked.values() for family in families[:best]} | {"eap-ig"}
    return markdown(
        [
            {"method": f"`{family}`"} | {f"≤ {b:g}": _cell(at[b], family) for b in budgets}
            for family in ranked[budgets[-1]]
            if family in shown
        ]
    )


def _cell(fits: dict[str, pd.DataFrame], family: str) -> str:
    if family not in fits:
        return ""
    rows = fits[family]
    passes = (rows["forwards"] + rows["backwards"]).median()
    against = f"{wins(rows, fits['eap-ig'])}, " if "eap-ig" in fits and family != "eap-ig" else ""
    return f"{passes:.0f}: {summary(rows['cmd'])}, {against}{summary(rows['p_noising'])}"


def own_table(frame: pd.DataFrame) -> str:
    """Return the table of the circuits of methods that select edges."""
    shown = frame[frame["own_edges"].notna() & (frame["variant"] == "default")]
    return markdown(
        [
            {
                "method": f"`{name}`",
                "n": str(len(rows)),
                "edges": summary(rows["own_edges"], 0, quartiles=True),
                "faithfulness": summary(rows["own"], quartiles=True),
                "EAP-IG's of the same size": summary(rows["matched"], quartiles=True),
            }
            for name, rows in by_row(shown, "own_edges")
        ]
    )


def planted_table(frame: pd.DataFrame) -> str:
    """Return the table of the share of planted edges found: median, minimum and maximum over seeds."""

    def range_of(values: pd.Series) -> str:
        low, middle, high = (f"{v:.2f}" for v in (values.min(), values.median(), values.max()))
        return middle if low == high else f"{middle} ({low} to {high})"

    shown = frame[frame["variant"].isin(["default", "denoising"])]
    shown = shown.assign(missed=1 - shown["planted"])
    order = shown.groupby("row", sort=False)["missed"].mean().sort_values(kind="stable").index
    rows = []
    for name in order:
        part = shown[shown["row"] == name]
        row = {"method": f"`{name}`" if name not in BASELINES else name}
        row |= {str(model): range_of(found["planted"]) for model, found in part.groupby("subject", sort=False)}
        rows.append(row | {"CMD": summary(part["cmd"]), "mean": f"{part['planted'].mean():.2f}"})
    return markdown(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="CSV file from `quality.py`")
    parser.add_argument("--budgets", nargs="+", type=float, default=[3, 12, 22, 62], help="passes per image pair")
    parser.add_argument("--best", type=int, default=6, help="number of methods at each budget, the best by CMD")
    args = parser.parse_args()
    frame = pd.read_csv(args.file)
    demo, planted = (frame[frame["kind"] == kind] for kind in ("digits", "planted"))
    tables = {
        "Defaults": main_table(demo),
        "CMD and precision against exact noising by mode and direction": variants_table(demo),
        "Equal cost": equal_cost(demo, args.budgets, args.best),
        "Own circuits": own_table(demo),
        "Planted": planted_table(planted),
    }
    print("\n\n".join(f"## {title}\n\n{table}" for title, table in tables.items() if table))


if __name__ == "__main__":
    main()
