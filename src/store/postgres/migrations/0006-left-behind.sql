-- Servers with a database each: what one had that the active lacks, found when it came back. Not
-- fenced: the server that comes back writes it into the active's.
CREATE TABLE left_behind (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  found        timestamptz NOT NULL DEFAULT clock_timestamp(),
  server       text NOT NULL,
  -- On that server: a file with the rows, one a line; or the database itself, where it could not be read.
  kept         text NOT NULL,
  -- Why it could not be read.
  unread       text,
  -- Rows in the file, by table.
  rows         jsonb NOT NULL,
  -- [{at, who, action, subject, term}], oldest first: not all of them, if there are many.
  changes      jsonb NOT NULL,
  change_count bigint NOT NULL,
  seen_at      timestamptz,
  seen_by      text
);
