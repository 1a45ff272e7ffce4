// Paths of a circuit from input to logits through at most three components.
// Parallel edges into q, k and v are one path; structural links count as steps. Dense circuits have many long paths.
//
// Parameters:
//   circuit: circuit; id of the circuit, or the beginning of it
//   longest: integer = 3; largest number of steps of a path, from 1 to 4
// Columns:
//   steps: number of edges and structural links on the path
//   first: first component after input, or empty
//   second: second component, or empty
//   third: third component, or empty

MATCH (:Circuit {id: $circuit})-[:HAS]->(i:Node)-[:FEEDS]->(o:Node)
WHERE i.name = 'input' AND o.name = 'logits' AND $longest >= 1
RETURN DISTINCT 1 AS steps, '' AS first, '' AS second, '' AS third
UNION ALL
MATCH (:Circuit {id: $circuit})-[:HAS]->(i:Node)-[:FEEDS]->(x:Node)
WHERE i.name = 'input' AND $longest >= 2
WITH DISTINCT x
MATCH (x)-[:FEEDS]->(o:Node)
WHERE o.name = 'logits'
RETURN DISTINCT 2 AS steps, x.name AS first, '' AS second, '' AS third
UNION ALL
MATCH (:Circuit {id: $circuit})-[:HAS]->(i:Node)-[:FEEDS]->(x:Node)
WHERE i.name = 'input' AND $longest >= 3
WITH DISTINCT x
MATCH (x)-[:FEEDS|CONTAINS]->(y:Node)
WITH DISTINCT x, y
MATCH (y)-[:FEEDS]->(o:Node)
WHERE o.name = 'logits'
RETURN DISTINCT 3 AS steps, x.name AS first, y.name AS second, '' AS third
UNION ALL
MATCH (:Circuit {id: $circuit})-[:HAS]->(i:Node)-[:FEEDS]->(x:Node)
WHERE i.name = 'input' AND $longest >= 4
WITH DISTINCT x
MATCH (x)-[:FEEDS|CONTAINS]->(y:Node)
WITH DISTINCT x, y
MATCH (y)-[:FEEDS|CONTAINS]->(z:Node)
WITH DISTINCT x, y, z
MATCH (z)-[:FEEDS]->(o:Node)
WHERE o.name = 'logits'
RETURN DISTINCT 4 AS steps, x.name AS first, y.name AS second, z.name AS third
