// All rows packed into one, which saves Neo4j's driver one message per row: see `query/named.py`.

MATCH (:Circuit {id: $circuit})-[:HAS]->(s:Node)-[f:FEEDS]->(r:Node)
WITH f.rank AS rank, f.edge AS edge, s.name AS sender, r.name AS receiver, f.port AS port,
  f.score AS score, f.std AS std, f.frequency AS frequency
ORDER BY rank
LIMIT $max_rows
RETURN collect(coalesce(rank, [])) AS rank,
  collect(coalesce(edge, [])) AS edge,
  collect(coalesce(sender, [])) AS sender,
  collect(coalesce(receiver, [])) AS receiver,
  collect(coalesce(port, [])) AS port,
  collect(coalesce(score, [])) AS score,
  collect(coalesce(std, [])) AS std,
  collect(coalesce(frequency, [])) AS frequency
