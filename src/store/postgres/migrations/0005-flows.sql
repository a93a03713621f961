-- What people say about flows, over what exporters say.

-- Who says nothing of an exporter has no row.
CREATE TABLE exporters (
  address    inet PRIMARY KEY,
  -- Packets of which it looks at one, whatever it says itself.
  sampling   bigint NOT NULL CHECK (sampling BETWEEN 1 AND 4294967295),
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_by text NOT NULL
);

-- The networks and applications that have names, one row a list, replaced as a whole.
CREATE TABLE name_lists (
  list       text PRIMARY KEY CHECK (list IN ('networks', 'applications')),
  entries    jsonb NOT NULL,
  -- Rises by one with each change.
  version    bigint NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_by text NOT NULL
);

CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON exporters
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON name_lists
  FOR EACH STATEMENT EXECUTE FUNCTION fence_check();
