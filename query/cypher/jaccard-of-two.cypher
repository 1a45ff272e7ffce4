// The Jaccard similarity of the edges of two circuits.
//
// Parameters:
//   a: circuit; first circuit, by its id or the beginning of it
//   b: circuit; second circuit, likewise
// Columns:
//   common: number of edges in both
//   united: number of edges in one or both
//   jaccard: common / united

MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE c.id IN [$a, $b]
WITH f.edge AS edge, count(*) AS found
WITH count(*) AS united, sum(CASE WHEN found = 2 OR $a = $b THEN 1 ELSE 0 END) AS common
WHERE united > 0
RETURN common, united, 1.0 * common / united AS jaccard
