# pyright: reportAssignmentType=false, reportAttributeAccessIssue=false
"""The rows of `quality.py` as tables: medians over classes and seeds, and quartiles where they are told.

- every method with its defaults, and the two baselines, on the demo model;
- gradient modes and the other direction beside the plain one;
- equal cost: per budget of passes (forwards and backwards an image pair), of every method and mode the most steps that
  fit: passes: CMD, on how many subjects that is lower than EAP-IG's at this budget (ties count half), and precision
  against exact noising; the best of the methods that were asked of every subject;
- circuits of methods that select, beside EAP-IG's of the same size;
- planted models: the share of planted edges found.

    python benchmarks/quality_tables.py attention.csv --budgets 3 12 22 62
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pandas as pd

BASELINES = ("magnitude", "random")
WHERE = ["subject", "seed"]


def told(values: pd.Series, digits: int = 2, *, quartiles: bool = False) -> str:
    """The median; with quartiles, these after it."""
    values = values.dropna()
    if values.empty:
        return ""
    middle, low, high = (f"{values.quantile(q):.{digits}f}" for q in (0.5, 0.25, 0.75))
    return f"{middle} ({low} to {high})" if quartiles else middle


def markdown(rows: list[dict[str, str]]) -> str:
    """A table of texts."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row.get(name, "") for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_row(frame: pd.DataFrame, rank: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows of one name: first those asked of most subjects, of these the lowest median of `rank`."""
    named = [(str(name), rows) for name, rows in frame.groupby("row", sort=False)]
    return iter(sorted(named, key=lambda pair: (-len(pair[1]), pair[1][rank].median())))


def main_table(frame: pd.DataFrame) -> str:
    """Every method with its defaults, and exact denoising."""
    shown = frame[(frame["variant"] == "default") | (frame["row"] == "exact denoising")]
    reference = frame[frame["row"] == "eap-ig"]
    return markdown(
        [
            {
                "method": f"`{name}`" if name not in BASELINES else name,
                "n": str(len(rows)),
                "forwards + backwards": f"{told(rows['forwards'], 0)} + {told(rows['backwards'], 0)}",
                "work": told(rows["work"], 0),
                "CPR": told(rows["cpr"], quartiles=True),
                "CMD": told(rows["cmd"], quartiles=True),
                "lower than EAP-IG's": wins(rows, reference) if name != "eap-ig" else "",
                "log CMD": told(rows["log_cmd"]),
                "noising": told(rows["p_noising"], quartiles=True),
                "denoising": told(rows["p_denoising"], quartiles=True),
                "80 %": told(rows["size80"], 0, quartiles=True),
                "kept": told(rows["kept80"]),
            }
            for name, rows in by_row(shown, "cmd")
        ]
    )


def variants_table(frame: pd.DataFrame) -> str:
    """Per method and mode or direction: CMD, then precision against exact noising."""
    modes = [v for v in frame["variant"].unique() if "steps" not in v]
    rows = []
    for method, part in frame[~frame["method"].isin(BASELINES)].groupby("method", sort=False):
        if part["variant"].isin(modes).sum() == (part["variant"] == "default").sum():
            continue
        row = {"method": f"`{method}`"}
        for mode in modes:
            found = part[part["variant"] == mode]
            pair = f"{told(found['cmd'])}, {told(found['p_noising'])}" if len(found) else ""
            row["plain" if mode == "default" else mode] = pair
        rows.append(row)
    return markdown(rows)


def families(frame: pd.DataFrame) -> pd.Series:
    """Rows of one method and mode belong together, whatever their steps."""
    return frame["row"].where(~frame["variant"].str.contains("steps"), frame["method"])


def affordable(frame: pd.DataFrame, budget: float) -> dict[str, pd.DataFrame]:
    """Of every method and mode, the rows of the most passes within the budget."""
    frame = frame.assign(family=families(frame))
    passes = (frame["forwards"] + frame["backwards"]).groupby(frame["row"]).median()
    fits = frame[frame["row"].map(passes) <= budget + 0.5]
    return {
        str(family): rows[rows["row"] == passes[rows["row"].unique()].idxmax()]
        for family, rows in fits.groupby("family", sort=False)
    }


def wins(rows: pd.DataFrame, reference: pd.DataFrame) -> str:
    """On how many subjects the CMD of rows is lower (ties count half), and of how many."""
    lower = (reference.set_index(WHERE)["cmd"] - rows.set_index(WHERE)["cmd"]).dropna()
    score = float((lower > 1e-9).sum() + 0.5 * (lower.abs() <= 1e-9).sum())
    return f"{score:g} of {len(lower)}"


def equal_cost(frame: pd.DataFrame, budgets: list[float], most: int) -> str:
    """Per method and mode, at every budget: passes, CMD, wins against EAP-IG, precision against exact noising."""
    frame = frame[~frame["method"].isin(BASELINES)]
    n = frame.groupby("row").size()
    frame = frame[frame["row"].map(n) == n.max()]  # those asked of every subject
    at = {budget: affordable(frame, budget) for budget in budgets}
    ranked = {
        budget: sorted(found, key=lambda family, found=found: found[family]["cmd"].median())
        for budget, found in at.items()
    }
    shown = {family for families in ranked.values() for family in families[:most]} | {"eap-ig"}
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
    return f"{passes:.0f}: {told(rows['cmd'])}, {against}{told(rows['p_noising'])}"


def own_table(frame: pd.DataFrame) -> str:
    """Circuits of methods that select."""
    shown = frame[frame["own_edges"].notna() & (frame["variant"] == "default")]
    return markdown(
        [
            {
                "method": f"`{name}`",
                "n": str(len(rows)),
                "edges": told(rows["own_edges"], 0, quartiles=True),
                "faithfulness": told(rows["own"], quartiles=True),
                "EAP-IG's of the same size": told(rows["matched"], quartiles=True),
            }
            for name, rows in by_row(shown, "own_edges")
        ]
    )


def planted_table(frame: pd.DataFrame) -> str:
    """Per planted model the share of planted edges found: the median, the least and the most over seeds."""

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
        rows.append(row | {"CMD": told(part["cmd"]), "mean": f"{part['planted'].mean():.2f}"})
    return markdown(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="as `quality.py` writes it")
    parser.add_argument("--budgets", nargs="*", type=float, default=[3, 12, 22, 62])
    parser.add_argument("--most", type=int, default=6, help="methods told at each budget, the best by CMD")
    asked = parser.parse_args()
    frame = pd.read_csv(asked.file)
    demo, planted = (frame[frame["kind"] == kind] for kind in ("digits", "planted"))
    if len(demo):
        print("## Defaults\n", main_table(demo), sep="\n")
        print("\n## CMD and precision against exact noising by mode and direction\n", variants_table(demo), sep="\n")
        print("\n## Equal cost\n", equal_cost(demo, asked.budgets, asked.most), sep="\n")
        print("\n## Own circuits\n", own_table(demo), sep="\n")
    if len(planted):
        print("\n## Planted\n", planted_table(planted), sep="\n")


if __name__ == "__main__":
    main()
