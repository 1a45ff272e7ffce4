// Of circuits: the nearest ones by a measure of similarity, which are derived from the archive. There were none before.

CREATE REL TABLE SIMILAR(
    FROM Circuit TO Circuit, measure STRING, value DOUBLE, chance DOUBLE, floor DOUBLE
);
