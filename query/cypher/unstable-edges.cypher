// Edges of a circuit that depend on the choice of images: few bootstrap samples of the images choose them.
//
// Parameters:
//   circuit: circuit; id of the circuit, or the beginning of it
//   below: number = 0.8; upper limit of the frequency, exclusive
// Columns:
//   edge: name of the edge
//   frequency: share of bootstrap samples of the images that choose it
//   score: mean over images; positive raises the metric
//   std: standard deviation over images
//   rank: order of extraction; 1 = first

MATCH (:Circuit {id: $circuit})-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE f.frequency < $below
RETURN f.edge AS edge, f.frequency AS frequency, f.score AS score, f.std AS std, f.rank AS rank
ORDER BY frequency, rank
