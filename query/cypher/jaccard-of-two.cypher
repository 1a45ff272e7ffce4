// How alike two circuits are, by their edges.
//
// Parameters:
//   a: circuit; its id, or the beginning of it
//   b: circuit; likewise
// Columns:
//   common: edges in both
//   united: edges in one or both
//   jaccard: common / united

MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE c.id IN [$a, $b]
WITH f.edge AS edge, count(*) AS found
WITH count(*) AS united, sum(CASE WHEN found = 2 OR $a = $b THEN 1 ELSE 0 END) AS common
WHERE united > 0
RETURN common, united, 1.0 * common / united AS jaccard
