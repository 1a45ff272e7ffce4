// no edge is chosen so rarely; {edge} is the least stable, with a frequency of {frequency:.3g}

MATCH (:Circuit {id: $circuit})-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE f.frequency IS NOT NULL
RETURN f.edge AS edge, f.frequency AS frequency
ORDER BY frequency, edge
LIMIT 1
