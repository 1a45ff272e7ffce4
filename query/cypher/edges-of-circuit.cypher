// All edges of a circuit in the order in which they were extracted.
//
// Parameters:
//   circuit: circuit; its id, or the beginning of it
// Columns:
//   rank: 1 = first extracted
//   edge: name of the edge
//   sender: what writes
//   receiver: what reads
//   port: q, k, v or nothing
//   score: mean over images; positive raises the metric
//   std: standard deviation over images
//   frequency: share of bootstrap samples of the images that choose it

MATCH (:Circuit {id: $circuit})-[:HAS]->(s:Node)-[f:FEEDS]->(r:Node)
RETURN f.rank AS rank, f.edge AS edge, s.name AS sender, r.name AS receiver, f.port AS port,
  f.score AS score, f.std AS std, f.frequency AS frequency
ORDER BY rank
