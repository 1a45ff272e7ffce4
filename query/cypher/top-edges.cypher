// The edges of a circuit with the largest scores by magnitude.
//
// Parameters:
//   circuit: circuit; id of the circuit, or the beginning of it
//   limit: integer = 20; number of edges
// Columns:
//   edge: name of the edge
//   score: mean over images; positive raises the metric
//   std: standard deviation over images
//   rank: order of extraction; 1 = first
//   frequency: share of bootstrap samples of the images that choose it

MATCH (:Circuit {id: $circuit})-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
RETURN f.edge AS edge, f.score AS score, f.std AS std, f.rank AS rank, f.frequency AS frequency
ORDER BY abs(f.score) DESC, edge
LIMIT $limit
