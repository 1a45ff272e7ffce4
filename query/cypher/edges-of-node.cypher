// The edges into and out of a component within a circuit.
//
// Parameters:
//   circuit: circuit; id of the circuit, or the beginning of it
//   node: string; name of the component, such as a1.h2, m0 or logits
// Columns:
//   side: in (the component is the receiver) or out (the sender)
//   edge: name of the edge
//   other: the component at the other end
//   port: q, k, v or empty
//   score: mean over images; positive raises the metric
//   rank: order of extraction; 1 = first

MATCH (:Circuit {id: $circuit})-[:HAS]->(s:Node)-[f:FEEDS]->(r:Node)
WHERE s.name = $node OR r.name = $node
RETURN CASE WHEN r.name = $node THEN 'in' ELSE 'out' END AS side, f.edge AS edge,
  CASE WHEN r.name = $node THEN s.name ELSE r.name END AS other, f.port AS port, f.score AS score, f.rank AS rank
ORDER BY side, rank
