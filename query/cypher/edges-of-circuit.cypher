// All edges of a circuit in order of extraction.
//
// Parameters:
//   circuit: circuit; id of the circuit, or the beginning of it
// Columns:
//   rank: order of extraction; 1 = first
//   edge: name of the edge
//   sender: node that adds to the residual stream
//   receiver: node that reads it
//   port: q, k, v or empty
//   score: mean over images; positive raises the metric
//   std: standard deviation over images
//   frequency: share of bootstrap samples of the images that choose it

MATCH (:Circuit {id: $circuit})-[:HAS]->(s:Node)-[f:FEEDS]->(r:Node)
RETURN f.rank AS rank, f.edge AS edge, s.name AS sender, r.name AS receiver, f.port AS port,
  f.score AS score, f.std AS std, f.frequency AS frequency
ORDER BY rank
