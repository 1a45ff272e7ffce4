// How alike two circuits are, by their edges.
//
// Parameters:
//   a: circuit; its id, or the beginning of it
//   b: circuit; likewise
// Columns:
//   common: edges in both
//   united: edges in one or both
//   jaccard: common / united

UNWIND [$a, $b] AS wanted
MATCH (:Circuit {id: wanted})-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WITH f.edge AS edge, count(*) AS found
WITH count(*) AS united, sum(CASE WHEN found = 2 THEN 1 ELSE 0 END) AS common
WHERE united > 0
RETURN common, united, 1.0 * common / united AS jaccard
