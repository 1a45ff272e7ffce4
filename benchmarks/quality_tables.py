"""The rows of `quality.py` as tables: medians over classes and seeds, and quartiles where they are told.

- every method with its defaults, and the two baselines, on the demo model;
- gradient modes and the other direction beside the plain one;
- equal cost: per budget of passes (forwards and backwards an image pair), of every method and mode the most steps that
  fit; `wins`: on how many subjects its CMD, and its precision against exact noising, is better than that of EAP-IG
  with the most steps that fit (ties count half);
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
    """Rows of one name, the lowest median of `rank` first."""
    order = frame.groupby("row", sort=False)[rank].median().sort_values(kind="stable").index
    for name in order:
        yield str(name), frame[frame["row"] == name]


def main_table(frame: pd.DataFrame) -> str:
    """Every method with its defaults, and exact denoising."""
    shown = frame[(frame["variant"] == "default") | (frame["row"] == "exact denoising")]
    return markdown(
        [
            {
                "method": f"`{name}`" if name not in BASELINES else name,
                "n": str(len(rows)),
                "forwards + backwards": f"{told(rows['forwards'], 0)} + {told(rows['backwards'], 0)}",
                "work": told(rows["work"], 0),
                "CPR": told(rows["cpr"], quartiles=True),
                "CMD": told(rows["cmd"], quartiles=True),
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


def affordable(frame: pd.DataFrame, budget: float) -> pd.DataFrame:
    """Of every method and mode, the rows of the most passes within the budget."""
    passes = (frame["forwards"] + frame["backwards"]).groupby(frame["row"]).median()
    family = frame["row"].where(~frame["variant"].str.contains("steps"), frame["method"])
    names = pd.Series(family.to_numpy(), index=frame["row"]).groupby(level=0).first()
    fits = passes[passes <= budget + 0.5]
    best = fits.groupby(names[fits.index]).idxmax()
    return frame[frame["row"].isin(best) & ~frame["method"].isin(BASELINES)]


def wins(rows: pd.DataFrame, reference: pd.DataFrame, column: str, sign: int) -> str:
    """On how many subjects rows are better (sign 1: higher is better), and of how many."""
    mine, other = rows.set_index(WHERE)[column], reference.set_index(WHERE)[column]
    gain = (sign * (mine - other)).dropna()
    score = float((gain > 1e-9).sum() + 0.5 * (gain.abs() <= 1e-9).sum())
    return f"{score:g} of {len(gain)}"


def equal_cost(frame: pd.DataFrame, budget: float, most: int) -> str:
    """The best at a budget by CMD, and EAP-IG."""
    fits = affordable(frame, budget)
    reference = fits[fits["method"].eq("eap-ig") & ~fits["variant"].isin(["relp", "relp-ah", "gim"])]
    rows = []
    for place, (name, part) in enumerate(by_row(fits, "cmd"), 1):
        if place > most and not name.startswith("eap-ig ") and name not in ("eap", "eap-ig", "exact"):
            continue
        row = {"place": str(place), "method": f"`{name}`", "n": str(len(part))}
        row["passes"] = told(part["forwards"] + part["backwards"], 0)
        row |= {"CMD": told(part["cmd"], quartiles=True), "CPR": told(part["cpr"])}
        row |= {"noising": told(part["p_noising"]), "denoising": told(part["p_denoising"])}
        if len(reference):
            row |= {"wins, CMD": wins(part, reference, "cmd", -1), "wins": wins(part, reference, "p_noising", 1)}
        rows.append(row)
    return markdown(rows)


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
    """Per planted model the share of planted edges found, the least and the most over seeds where they differ."""

    def range_of(values: pd.Series) -> str:
        low, middle, high = (f"{v:.2f}" for v in (values.min(), values.median(), values.max()))
        return middle if low == high else f"{middle} ({low} to {high})"

    shown = frame[~frame["variant"].str.contains("steps")]
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
    parser.add_argument("--most", type=int, default=6, help="methods told at each budget")
    asked = parser.parse_args()
    frame = pd.read_csv(asked.file)
    demo, planted = (frame[frame["kind"] == kind] for kind in ("digits", "planted"))
    if len(demo):
        print("## Defaults\n", main_table(demo), sep="\n")
        print("\n## CMD and precision against exact noising by mode and direction\n", variants_table(demo), sep="\n")
        for budget in asked.budgets:
            print(f"\n## At most {budget:g} passes\n", equal_cost(demo, budget, asked.most), sep="\n")
        print("\n## Own circuits\n", own_table(demo), sep="\n")
    if len(planted):
        print("\n## Planted\n", planted_table(planted), sep="\n")


if __name__ == "__main__":
    main()
