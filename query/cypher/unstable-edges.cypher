// Edges of a circuit that owe their place to the choice of images: few bootstrap samples of the images choose them.
//
// Parameters:
//   circuit: circuit; its id, or the beginning of it
//   below: number = 0.8; only edges with a frequency below this
// Columns:
//   edge: name of the edge
//   frequency: share of bootstrap samples that choose it
//   score: mean over images; positive raises the metric
//   std: standard deviation over images
//   rank: 1 = first extracted

MATCH (:Circuit {id: $circuit})-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE f.frequency < $below
RETURN f.edge AS edge, f.frequency AS frequency, f.score AS score, f.std AS std, f.rank AS rank
ORDER BY frequency, rank
