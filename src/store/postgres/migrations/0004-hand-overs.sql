-- Codes with which a person who is logged in goes on at the other server under another host name.
-- Not fenced, like sessions; gone with the session that each was made of.
CREATE TABLE hand_overs (
  code_hash    bytea PRIMARY KEY,
  session_hash bytea NOT NULL REFERENCES sessions ON DELETE CASCADE,
  expires      timestamptz NOT NULL
);
