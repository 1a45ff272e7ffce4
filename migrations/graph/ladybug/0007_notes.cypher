// Notes of people, and what they are about. There were none before.

CREATE NODE TABLE Note(
    id STRING, text STRING, author STRING, about STRING, tags STRING, state STRING, replaces STRING, latest BOOL,
    created_ms INT64, PRIMARY KEY (id)
);
CREATE REL TABLE ABOUT(FROM Note TO Circuit, FROM Note TO Class, FROM Note TO Component);
