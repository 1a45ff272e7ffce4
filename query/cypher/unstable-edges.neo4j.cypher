// All rows packed into one, which saves Neo4j's driver one message per row: see `query/named.py`.

MATCH (:Circuit {id: $circuit})-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE f.frequency < $below
WITH f.edge AS edge, f.frequency AS frequency, f.score AS score, f.std AS std, f.rank AS rank
ORDER BY frequency, rank
LIMIT $max_rows
RETURN collect(coalesce(edge, [])) AS edge,
  collect(coalesce(frequency, [])) AS frequency,
  collect(coalesce(score, [])) AS score,
  collect(coalesce(std, [])) AS std,
  collect(coalesce(rank, [])) AS rank
