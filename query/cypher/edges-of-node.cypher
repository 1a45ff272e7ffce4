// What a component reads and what reads it, within a circuit.
//
// Parameters:
//   circuit: circuit; its id, or the beginning of it
//   node: string; name of the component, such as a1.h2, m0 or logits
// Columns:
//   side: in or out
//   edge: name of the edge
//   other: the component at the other end
//   port: q, k, v or nothing
//   score: mean over images; positive raises the metric
//   rank: 1 = first extracted

MATCH (:Circuit {id: $circuit})-[:HAS]->(s:Node)-[f:FEEDS]->(r:Node)
WHERE s.name = $node OR r.name = $node
RETURN CASE WHEN r.name = $node THEN 'in' ELSE 'out' END AS side, f.edge AS edge,
  CASE WHEN r.name = $node THEN s.name ELSE r.name END AS other, f.port AS port, f.score AS score, f.rank AS rank
ORDER BY side, rank
