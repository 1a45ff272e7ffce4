// One row per side with its edges in lists, which saves Neo4j's driver one message per edge: see `query/named.py`.

MATCH (c:Circuit)-[:HAS]->()-[f:FEEDS]->()
WHERE c.id IN [$a, $b]
WITH f.edge AS edge, count(*) AS found, min(c.id) AS owner, min(f.score) AS score, min(f.rank) AS rank
WHERE found = 1 AND $a <> $b
WITH CASE WHEN owner = $a THEN 'a' ELSE 'b' END AS side, edge, score, rank
ORDER BY side, rank
LIMIT $max_rows
RETURN side,
  collect(coalesce(edge, [])) AS edge,
  collect(coalesce(score, [])) AS score,
  collect(coalesce(rank, [])) AS rank
ORDER BY side
