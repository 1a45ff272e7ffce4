// The latest version of each note, oldest first; circuitstore note list also filters by what they are about.
//
// Parameters:
//   state: string = ""; only hypotheses in this state: open, supported or refuted; empty for all notes
// Columns:
//   author: name of the author
//   state: state of the hypothesis; missing for notes that are none
//   about: what it is about, as kind and reference
//   tags: words to find it by
//   text: what it says
//   created_ms: when it was stored, in milliseconds since 1970
//   id: id of the note

MATCH (n:Note)
WHERE n.latest AND ($state = '' OR n.state = $state)
RETURN n.author AS author, n.state AS state, n.about AS about, n.tags AS tags, n.text AS text,
  n.created_ms AS created_ms, n.id AS id
ORDER BY created_ms, id
