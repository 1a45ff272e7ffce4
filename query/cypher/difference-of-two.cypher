// Edges that are in only one of two circuits.
//
// Parameters:
//   a: circuit; first circuit, by its id or the beginning of it
//   b: circuit; second circuit, likewise
// Columns:
//   side: a or b, the circuit that has it
//   edge: name of the edge
//   score: mean over images; positive raises the metric
//   rank: order of extraction; 1 = first

MATCH (c:Circuit)-[:HAS]->()-[f:FEEDS]->()
WHERE c.id IN [$a, $b]
WITH f.edge AS edge, count(*) AS found, min(c.id) AS owner, min(f.score) AS score, min(f.rank) AS rank
WHERE found = 1 AND $a <> $b
RETURN CASE WHEN owner = $a THEN 'a' ELSE 'b' END AS side, edge, score, rank
ORDER BY side, rank
