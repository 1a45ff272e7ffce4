// the graph has {similar} SIMILAR relationships of this measure, none of them from this circuit; circuitstore similar
// creates them

MATCH (:Circuit)-[s:SIMILAR]->(:Circuit)
WHERE s.measure = $measure
RETURN count(*) AS similar
